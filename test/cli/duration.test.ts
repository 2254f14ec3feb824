// Durations as people write them.
import { expect, test } from "vitest";
import { formatMs, parseDurationMs } from "../../src/cli/duration.ts";

const ANY = { minMs: 0, maxMs: Number.MAX_SAFE_INTEGER };

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["1m", 60_000],
  ["2h", 7_200_000],
  ["1m30s", 90_000],
  ["1h1m1s1ms", 3_661_001],
  ["1.5s", 1_500],
  ["0.1s", 100],
  ["2.3s", 2_300],
  ["0", 0],
  ["0s", 0],
])("reads %s as %d ms", (text, ms) => {
  expect(parseDurationMs("--ttl", text, ANY)).toBe(ms);
});

test.each([
  "",
  " ",
  "5",
  "s",
  "5 s",
  "-5s",
  "+5s",
  "5S",
  "5sec",
  "1s1m",
  "1s1s",
  "1e3s",
  "0x1s",
  "Infinity",
  "1.s",
  ".5s",
  "1.5ms",
  "1,5s",
])("refuses %j, and names option, rule and value", (text) => {
  const rule = /^option --ttl must be a duration with a unit, such as 500ms, 30s, 1m30s or 2h; got /;
  expect(() => parseDurationMs("--ttl", text, ANY)).toThrow(rule);
  expect(() => parseDurationMs("--ttl", text, ANY)).toThrow(JSON.stringify(text));
});

test("refuses fractions of a millisecond and what is out of range", () => {
  expect(() => parseDurationMs("--ttl", "0.0005s", ANY)).toThrow(
    "option --ttl must be a whole number of milliseconds",
  );
  const range = { minMs: 1000, maxMs: 60_000, why: " (--max-ttl)" };
  expect(() => parseDurationMs("--ttl", "999ms", range)).toThrow(
    'option --ttl must be from 1s to 1m (--max-ttl); got "999ms"',
  );
  expect(() => parseDurationMs("--ttl", "1m1ms", range)).toThrow("from 1s to 1m");
  expect(parseDurationMs("--ttl", "1m", range)).toBe(60_000);
});

test.each([
  [0, "0ms"],
  [249.6, "250ms"],
  [1000, "1s"],
  [29_699.5, "29.7s"],
  [60_000, "1m"],
  [90_400, "1m30s"],
  [7_200_000, "2h"],
])("writes %d ms as %s", (ms, text) => {
  expect(formatMs(ms)).toBe(text);
});

test("reads what it writes", () => {
  for (const ms of [1, 999, 1000, 1500, 59_900, 60_000, 61_000, 3_600_000, 86_399_000]) {
    expect(parseDurationMs("--ttl", formatMs(ms), ANY)).toBe(ms);
  }
});
