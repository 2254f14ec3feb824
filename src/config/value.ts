/** Texts to values, by their type in the schema. */
import { readDurationMs, formatMs } from "./duration.js";
import { refuse, type Entry } from "./entry.js";
import type { ValueType } from "./schema.js";

/** A value that was read: milliseconds for a duration. */
export type Value = string | number | boolean;

/** Reads an entry, within the range of its type. Throws a `ConfigError`. */
export function readValue(entry: Entry, type: ValueType): Value {
  const value = parseValue(entry, type);
  if (type.kind === "duration") {
    checkRange(entry, { value: Number(value), min: type.minMs, max: type.maxMs, format: formatMs });
  }
  if (type.kind === "whole") checkRange(entry, { value: Number(value), ...type, format: String });
  return value;
}

/** Reads an entry, whatever its range. Throws a `ConfigError`. */
export function parseValue(entry: Entry, type: ValueType): Value {
  const { text } = entry;
  switch (type.kind) {
    case "duration": {
      const read = readDurationMs(text);
      if ("rule" in read) throw refuse(entry, read.rule);
      return read.ms;
    }
    case "whole": {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (Number.isNaN(value)) throw refuse(entry, wholeRule(type));
      return value;
    }
    case "word":
      if (!type.words.includes(text)) throw refuse(entry, `one of ${type.words.join(", ")}`);
      return text;
    case "flag":
      if (text !== "true" && text !== "false") throw refuse(entry, "true or false");
      return text === "true";
    case "text":
    case "secret":
    case "path":
      if (text === "") throw refuse(entry, "left out rather than empty");
      return text;
  }
}

/** A range of numbers, and how they are shown. */
export interface Range {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly format: (value: number) => string;
  /** Where the bounds come from, such as " (--max-ttl)". */
  readonly why?: string;
}

/** Throws a `ConfigError` for a value out of its range. */
export function checkRange(entry: Entry, { value, min, max, format, why = "" }: Range): void {
  if (value >= min && value <= max) return;
  const kind = format === String ? "a whole number " : "";
  throw refuse(entry, `${kind}from ${format(min)} to ${format(max)}${why}`);
}

function wholeRule({ min, max }: { readonly min: number; readonly max: number }): string {
  return `a whole number from ${min} to ${max}`;
}
