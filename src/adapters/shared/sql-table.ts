/** The name of a table, as an option. */
import { InvalidOptionError } from "../../errors.js";

const PART = /^[A-Za-z_][\w$]{0,62}$/;

/** The parts of "table" or "schema.table". Throws InvalidOptionError for anything that would need to be quoted with care. */
export function tableParts(option: string, table: unknown): readonly string[] {
  const parts = typeof table === "string" ? table.split(".") : [];
  if (parts.length < 1 || parts.length > 2 || !parts.every((part) => PART.test(part))) {
    const rule =
      'a name of letters, digits, "_" and "$", with or without one in front for its schema and a dot';
    throw new InvalidOptionError(option, rule, table);
  }
  return parts;
}
