/** Durations as people write them: "500ms", "30s", "1m30s", "2h". */
import { show } from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";

/** The smallest and largest duration that an option takes, in milliseconds, and why. */
export interface DurationRange {
  readonly minMs: number;
  readonly maxMs: number;
  /** Where the bounds come from, such as " (--max-ttl)". */
  readonly why?: string;
}

const UNITS_MS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const EXAMPLES = "a duration with a unit, such as 500ms, 30s, 1m30s or 2h";
// Each unit at most once, from the largest to the smallest.
const DURATION = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/;

/** Reads a duration, in milliseconds. Throws a {@link CommandLineError} that names the option, the rule and the value. */
export function parseDurationMs(option: string, text: string, range: DurationRange): number {
  const parts = DURATION.exec(text);
  // "0" is the one number that needs no unit.
  if (text !== "0" && (text === "" || parts === null)) throw refused(option, EXAMPLES, text);
  const [, h = "0", m = "0", s = "0", ms = "0"] = parts ?? [];
  const sumMs =
    Number(h) * UNITS_MS.h + Number(m) * UNITS_MS.m + Number(s) * UNITS_MS.s + Number(ms) * UNITS_MS.ms;
  // Sums of decimals are a hair off; less than a microsecond is no fraction of a millisecond that anybody wrote.
  const wholeMs = Math.round(sumMs);
  if (Math.abs(sumMs - wholeMs) > 1e-3) throw refused(option, "a whole number of milliseconds", text);
  const { minMs, maxMs, why = "" } = range;
  if (wholeMs < minMs || wholeMs > maxMs) {
    throw refused(option, `from ${formatMs(minMs)} to ${formatMs(maxMs)}${why}`, text);
  }
  return wholeMs;
}

/** Milliseconds as an option takes them, rounded to three digits where that is for people: "250ms", "7.42s", "1m30s". */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toPrecision(3))}s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  return parts.map(([count, unit]) => (count === 0 ? "" : `${count}${unit}`)).join("");
}

function refused(option: string, rule: string, text: string): CommandLineError {
  return new CommandLineError(EXIT.usage, `option ${option} must be ${rule}; got ${show(text)}`);
}
