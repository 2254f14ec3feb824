/**
 * What backends promise to those who wait, checked against a plain list of who stands in line: a key that is freed is kept for
 * the first in line for a short time and for nobody else, the first two are called, nobody is called for nothing, and who
 * leaves takes nobody else's place. By what they were asked and what they answered; times are judged within the drift.
 */
import { RESERVATION_MS, SHORT_MS } from "../../../src/engine/line.js";
import type { History, LineRecord, Violation } from "../history.js";

interface Standing {
  readonly who: string;
  readonly since: bigint;
  /** It surely stands there until then. */
  readonly untilMs: number;
  /** Behind that it surely does not. */
  readonly goneMs: number;
}

/** The line of one key in one memory. */
interface Line {
  readonly standing: Map<string, Standing>;
  /** For whom the key is kept, and since when. */
  kept: { readonly who: string; readonly fromMs: number } | undefined;
}

type Called = Extract<LineRecord, { readonly kind: "called" }>;
type Asked = Extract<LineRecord, { readonly kind: "asked" }>;

export function checkLine(history: History): readonly Violation[] {
  if (!history.assumptions.expiryByClock) return [];
  const { driftPpm, grainMs } = history.lineBounds;
  const rho = driftPpm / 1e6;
  const violations: Violation[] = [];
  const lines = new Map<string, Line>();
  /** Calls come ahead of the answer of what freed the key. */
  const calls = new Map<string, Called[]>();

  function isSurelyWithin(ms: number, passedMs: number): boolean {
    return passedMs * (1 + rho) + grainMs < ms;
  }

  function isSurelyPast(ms: number, passedMs: number): boolean {
    return passedMs * (1 - rho) - grainMs > ms;
  }

  function found(record: LineRecord, what: string): void {
    violations.push({
      checker: "line",
      promise: "waiting in line",
      what: `${record.memory} at ${record.atMs.toFixed(3)} ms: ${what}`,
    });
  }

  function lineOf(memory: string, key: string): Line {
    const name = `${memory} ${key}`;
    const line = lines.get(name) ?? { standing: new Map<string, Standing>(), kept: undefined };
    lines.set(name, line);
    return line;
  }

  function freed(record: LineRecord, line: Line): void {
    const heard = calls.get(record.memory) ?? [];
    calls.delete(record.memory);
    const inLine = [...line.standing.values()];
    const sure = inLine.filter(({ untilMs }) => record.atMs < untilMs);
    const [first, second, ...more] = heard;
    if (first === undefined) {
      line.kept = undefined;
      if (sure[0] !== undefined) found(record, `a key became free, and ${sure[0].who} was not called`);
      return;
    }
    if (more.length > 0) found(record, `${heard.length} waiters were called for one key`);
    const next = isNext(record, line, { call: first, sure });
    if (next !== undefined) found(record, next);
    line.standing.delete(first.who);
    line.kept = { who: first.who, fromMs: record.atMs };
    const rest = sure.filter(({ who }) => who !== first.who);
    if (first.inMs !== 0) found(record, `${first.who} was called for a key that is free only later`);
    if (second === undefined) {
      if (rest[0] !== undefined) found(record, `nobody was told when it is the turn of ${rest[0].who}`);
      return;
    }
    const then = isNext(record, line, { call: second, sure: rest });
    if (then !== undefined) found(record, then);
    if (second.inMs < 1 || second.inMs > RESERVATION_MS) {
      found(record, `${second.who} was told to come in ${second.inMs} ms`);
    }
  }

  /** Whether the called one stands in line, and nobody ahead of it. */
  function isNext(
    record: LineRecord,
    line: Line,
    { call, sure }: { readonly call: Called; readonly sure: readonly Standing[] },
  ): string | undefined {
    const waiter = line.standing.get(call.who);
    if (waiter === undefined) return `${call.who} was called, who does not stand in line`;
    if (record.atMs > waiter.goneMs) {
      return `${call.who} was called, whose wait was over`;
    }
    const ahead = sure.find(({ since }) => since < waiter.since);
    return ahead === undefined ? undefined : `${call.who} was called, though ${ahead.who} had come before`;
  }

  function asked(record: Asked, line: Line): void {
    const { who, key, answer, atMs, remainingMs } = record;
    const { kept } = line;
    const mine = who !== undefined && kept?.who === who;
    if (answer === "reserved") {
      if (kept === undefined || mine)
        found(record, `${key} was kept for nobody else when ${who ?? "somebody"} asked`);
      else if (isSurelyPast(RESERVATION_MS, atMs - kept.fromMs) || remainingMs > RESERVATION_MS) {
        found(
          record,
          `${key} is kept for ${kept.who} since ${kept.fromMs.toFixed(3)} ms, for ${remainingMs.toFixed(0)} ms more`,
        );
      }
    } else if (answer === "granted" && kept !== undefined && !mine) {
      if (isSurelyWithin(RESERVATION_MS, atMs - kept.fromMs)) {
        found(record, `${key} was granted to ${who ?? "somebody"}, though it was kept for ${kept.who}`);
      }
      line.kept = undefined;
    }
    if (who === undefined) return;
    if (answer === "granted") {
      line.standing.delete(who);
      if (mine) line.kept = undefined;
    } else {
      line.standing.set(who, standing(record, who, line.standing.get(who)));
    }
  }

  /** Who asks again keeps its place, and stands there until the end that it named last, or up to {@link SHORT_MS} less; never less than before. */
  function standing(
    { since, waitsMs, atMs }: Pick<Asked, "since" | "waitsMs" | "atMs">,
    who: string,
    before: Standing | undefined,
  ): Standing {
    const shortMs = before === undefined ? 0 : SHORT_MS;
    return {
      who,
      since: before?.since ?? since,
      untilMs: Math.max(before?.untilMs ?? 0, atMs + (waitsMs - shortMs - grainMs) / (1 + rho)),
      goneMs: Math.max(before?.goneMs ?? 0, atMs + (waitsMs + grainMs) / (1 - rho)),
    };
  }

  function left(record: Extract<LineRecord, { readonly kind: "left" }>, line: Line): void {
    line.standing.delete(record.who);
    const passedMs = line.kept === undefined ? 0 : record.atMs - line.kept.fromMs;
    if (line.kept?.who !== record.who) return;
    line.kept = undefined;
    // It was its turn: the key is free for the next one.
    if (isSurelyWithin(RESERVATION_MS, passedMs) || calls.has(record.memory)) freed(record, line);
  }

  for (const record of history.line) {
    if (record.kind === "called") {
      calls.set(record.memory, [...(calls.get(record.memory) ?? []), record]);
      continue;
    }
    const line = lineOf(record.memory, record.key);
    const [early] = calls.get(record.memory) ?? [];
    switch (record.kind) {
      case "freed":
        if (record.back !== undefined) {
          const { who } = record.back;
          line.standing.set(
            who,
            standing({ atMs: record.atMs, ...record.back }, who, line.standing.get(who)),
          );
        }
        freed(record, line);
        break;
      case "left":
        left(record, line);
        break;
      case "asked":
        asked(record, line);
        break;
      case "recreated":
        if (line.kept !== undefined && isSurelyWithin(RESERVATION_MS, record.atMs - line.kept.fromMs)) {
          found(
            record,
            `the lock of ${record.key} was created anew, though it was kept for ${line.kept.who}`,
          );
        }
    }
    if (early !== undefined && calls.get(record.memory)?.[0] === early && early.atMs < record.atMs) {
      found(early, `${early.who} was called, though nothing became free`);
      calls.delete(record.memory);
    }
  }
  for (const [first] of calls.values()) {
    if (first !== undefined) found(first, `${first.who} was called, though nothing became free`);
  }
  return violations;
}
