/** Durations as options of the command line. */
import { formatMs, readDurationMs } from "../config/duration.js";
import { show } from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";

export { formatMs } from "../config/duration.js";

/** The smallest and largest duration that an option takes, in milliseconds, and why. */
export interface DurationRange {
  readonly minMs: number;
  readonly maxMs: number;
  /** Where the bounds come from, such as " (--max-ttl)". */
  readonly why?: string;
}

/** Reads a duration, in milliseconds. Throws a {@link CommandLineError} that names the option, the rule and the value. */
export function parseDurationMs(option: string, text: string, range: DurationRange): number {
  const read = readDurationMs(text);
  if ("rule" in read) throw refused(option, read.rule, text);
  const { minMs, maxMs, why = "" } = range;
  if (read.ms < minMs || read.ms > maxMs) {
    throw refused(option, `from ${formatMs(minMs)} to ${formatMs(maxMs)}${why}`, text);
  }
  return read.ms;
}

function refused(option: string, rule: string, text: string): CommandLineError {
  return new CommandLineError(EXIT.usage, `option ${option} must be ${rule}; got ${show(text)}`);
}
