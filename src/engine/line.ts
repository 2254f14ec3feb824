/**
 * Who waits for a key, in the order of their tickets, and for whom it is kept when it is free: as values. Advice whom to
 * let in first, never a right: nothing of it is needed for a lock to be right.
 */
import type { ClockReading } from "./record.js";

/**
 * For how long a key is kept for the waiter whose turn it is, in milliseconds: enough for a call and an acquire where a round trip takes
 * up to 60 ms. Farther away somebody else may get a vote, which costs an attempt; with more time there are hardly more hand-overs
 * (docs/scaling.md), and a waiter that died costs those behind it this much.
 */
export const RESERVATION_MS = 100;
/** So many stand in line for a key; whoever comes later asks now and then. Keeps a record small. */
export const LINE_MAX = 64;
/** A ticket is written again when it would end by so much too early: each attempt says anew for how long it waits. */
export const SHORT_MS = 1_000;

/** A ticket in line. */
export interface KeptTicket {
  /** Names the waiter to all who see the record. */
  readonly id: string;
  /** Microseconds of hybrid time; the smallest goes first. */
  readonly since: bigint;
  /** When its wait is over, in milliseconds of the backend's clock. */
  readonly until: number;
}

/** A key that is kept for a ticket. */
export interface Reservation {
  readonly id: string;
  /** Milliseconds of the backend's clock. */
  readonly until: number;
}

/** The line for one key. */
export interface KeptLine {
  /** The smallest ticket first. */
  readonly waiting: readonly KeptTicket[];
  readonly reserved: Reservation | undefined;
}

/** Somebody who would wait. */
export interface Waiter {
  readonly id: string;
  readonly since: bigint;
  readonly waitsMs: number;
}

/** What the line is looked at with. */
export interface LineContext {
  readonly now: ClockReading;
  /** A reservation of which is known that its time is up, where the backend's clock is too coarse to tell. */
  readonly over?: Reservation | undefined;
}

/** For whom a free key is kept at the moment. */
export function reservedNow(line: KeptLine | undefined, { now, over }: LineContext): Reservation | undefined {
  const reserved = line?.reserved;
  if (reserved === undefined || reserved.until <= now.atLeastMs) return undefined;
  if (reserved.id === over?.id && reserved.until === over.until) return undefined;
  return reserved;
}

/** For how long a reservation may last from now on, in milliseconds. */
export function reservedMs({ until }: Reservation, now: ClockReading): number {
  return Math.min(until - now.atLeastMs, RESERVATION_MS);
}

/** With one more in it; the line itself where it stands there already, or where as many as `max` others do. */
export function joined(
  line: KeptLine | undefined,
  waiter: Waiter,
  { now }: Pick<LineContext, "now">,
  max: number = LINE_MAX,
): KeptLine | undefined {
  const { id, since, waitsMs } = waiter;
  const until = now.atMostMs + waitsMs;
  const before = line?.waiting.find((each) => each.id === id);
  if (before !== undefined && before.until >= until - SHORT_MS) return line;
  const others = (line?.waiting ?? []).filter((each) => each.id !== id && each.until > now.atLeastMs);
  if (others.length >= max) return line;
  const waiting = [...others, { id, since, until }].sort(inOrder);
  return { waiting, reserved: line?.reserved };
}

/** Whether a ticket waits in it. */
export function stands(line: KeptLine | undefined, id: string): boolean {
  return line?.waiting.some((each) => each.id === id) === true;
}

/** Without a ticket; nothing where nobody is left. */
export function without(line: KeptLine | undefined, id: string): KeptLine | undefined {
  if (line === undefined) return undefined;
  const waiting = line.waiting.filter((each) => each.id !== id);
  const reserved = line.reserved?.id === id ? undefined : line.reserved;
  return waiting.length === 0 && reserved === undefined ? undefined : { waiting, reserved };
}

/** When the key becomes free: it is kept for the first in line; nothing where nobody waits. */
export function advanced(
  line: KeptLine | undefined,
  { now }: Pick<LineContext, "now">,
): KeptLine | undefined {
  const [first, ...waiting] = (line?.waiting ?? []).filter(({ until }) => until > now.atLeastMs);
  if (first === undefined) return undefined;
  return { waiting, reserved: { id: first.id, until: now.atMostMs + RESERVATION_MS } };
}

/** Who is to be called when a key was freed, and in how many milliseconds it may try: the first two. */
export function calledBy(
  line: KeptLine | undefined,
): readonly { readonly id: string; readonly inMs: number }[] {
  if (line?.reserved === undefined) return [];
  const [second] = line.waiting;
  const first = { id: line.reserved.id, inMs: 0 };
  return second === undefined ? [first] : [first, { id: second.id, inMs: RESERVATION_MS }];
}

function inOrder(a: KeptTicket, b: KeptTicket): number {
  if (a.since !== b.since) return a.since < b.since ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
