/** A value of the configuration before it is read: its text, and where it was given. */
import { ConfigError, show, type ConfigPlace } from "../errors.js";

/** One value as it was written. */
export interface Entry {
  readonly text: string;
  readonly place: ConfigPlace;
  /** Never shown. */
  readonly secret: boolean;
}

/** What a value is called in messages that are about a secret. */
export const NOT_SHOWN = "a value that is not shown";

/** The error for an entry that breaks its rule. */
export function refuse(entry: Entry, rule: string): ConfigError {
  return new ConfigError(entry.place, rule, entry.secret ? NOT_SHOWN : show(entry.text));
}

/** From the strongest to the weakest. A value of a stronger source hides those of the weaker ones. */
const SOURCES: readonly ConfigPlace["kind"][] = ["code", "option", "variable", "file"];

/** How strong a source is: 0 for the strongest. */
export function rankOf({ kind }: ConfigPlace): number {
  return SOURCES.indexOf(kind);
}
