/** Durations as people write them: "500ms", "30s", "1m30s", "2h", "7d". */

const UNITS_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/** What a text must be that is no duration. */
export const DURATION_RULE = "a duration with a unit, such as 500ms, 30s, 1m30s or 2h";
/** What a duration must be that is no whole number of milliseconds. */
export const WHOLE_RULE = "a whole number of milliseconds";

// Each unit at most once, from the largest to the smallest.
const DURATION =
  /^(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/;

/** A duration in milliseconds, or the rule that the text breaks. */
export function readDurationMs(text: string): { readonly ms: number } | { readonly rule: string } {
  const parts = DURATION.exec(text);
  // "0" is the one number that needs no unit.
  if (text !== "0" && (text === "" || parts === null)) return { rule: DURATION_RULE };
  const [, d = "0", h = "0", m = "0", s = "0", ms = "0"] = parts ?? [];
  const sumMs =
    Number(d) * UNITS_MS.d +
    Number(h) * UNITS_MS.h +
    Number(m) * UNITS_MS.m +
    Number(s) * UNITS_MS.s +
    Number(ms) * UNITS_MS.ms;
  // Sums of decimals are a hair off; less than a microsecond is no fraction of a millisecond that anybody wrote.
  const wholeMs = Math.round(sumMs);
  return Math.abs(sumMs - wholeMs) > 1e-3 ? { rule: WHOLE_RULE } : { ms: wholeMs };
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

/** Milliseconds exactly, as {@link readDurationMs} reads them back. */
export function exactMs(ms: number): string {
  const days = ms / UNITS_MS.d;
  if (days > 1 && Number.isInteger(days)) return `${days}d`;
  const text = formatMs(ms);
  const again = readDurationMs(text);
  return "ms" in again && again.ms === ms ? text : `${ms}ms`;
}
