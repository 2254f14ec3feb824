// Compares what --json printed with the table that documents it, both ways.
import { expect } from "vitest";
import type { CommandName } from "../../src/cli/command-table.ts";
import { JSON_FIELDS, type JsonField } from "../../src/cli/json-fields.ts";

/** Fails unless every field is documented with its type, and every documented field of what is there is printed. */
export function expectDocumented(command: CommandName, printed: unknown): void {
  const fields = JSON_FIELDS[command] ?? [];
  expect(fields.length, `${command} has documented fields`).toBeGreaterThan(0);
  const problems: string[] = [];
  visit("", printed, { fields, problems });
  expect(problems).toEqual([]);
}

interface Visit {
  readonly fields: readonly JsonField[];
  readonly problems: string[];
}

function visit(path: string, value: unknown, of: Visit): void {
  if (path !== "") {
    const documented = of.fields.find((field) => field.path === path);
    // Elements of an array are described by their fields.
    if (documented === undefined && !path.endsWith("[]")) of.problems.push(`${path} is not documented`);
    if (documented !== undefined && !documented.types.some((type) => isOfType(value, type)))
      of.problems.push(`${path} is ${JSON.stringify(value)}, documented as ${documented.types.join(", ")}`);
  }
  if (Array.isArray(value)) {
    for (const each of value) visit(`${path}[]`, each, of);
  } else if (typeof value === "object" && value !== null) {
    const prefix = path === "" ? "" : `${path}.`;
    const names = of.fields
      .filter((field) => field.path.startsWith(prefix))
      .map((field) => field.path.slice(prefix.length).split(/[.[]/, 1)[0] ?? "");
    for (const name of new Set(names))
      if (!Object.hasOwn(value, name)) of.problems.push(`${prefix}${name} is missing`);
    for (const [name, each] of Object.entries(value)) visit(`${prefix}${name}`, each, of);
  }
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "string":
    case "boolean":
    case "number":
      return typeof value === type;
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "token":
      return typeof value === "string" && /^\d+$/.test(value);
    default:
      return JSON.stringify(value) === type;
  }
}
