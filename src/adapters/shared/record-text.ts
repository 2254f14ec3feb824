/** The record of a key as text, for stores that keep text. JSON, so that a person who looks into the store can read it. */
import { LINE_MAX, type KeptLine, type KeptTicket, type Reservation } from "../../engine/line.js";
import type { KeptKey } from "../../engine/record.js";
import { noRecord } from "./refusals.js";

/** As text; the key stands in it too, since a store may know it by a hash only. */
export function formatRecord(key: string, { lock, counter, forgetAt, line }: KeptKey): string {
  const held =
    lock === undefined
      ? {}
      : { owner: lock.owner, fence: lock.fence.toString(), expiresAt: Math.ceil(lock.expiresAt) };
  return JSON.stringify({
    ql: 1,
    key,
    ...held,
    counter: counter.toString(),
    forgetAt: Math.ceil(forgetAt),
    ...textsOf(line),
  });
}

/** A line as text of its own, for stores that keep it beside the record. */
export function formatLine(line: KeptLine): string {
  return JSON.stringify(textsOf(line));
}

/** What the text stands for; undefined where it stands for no line. */
export function parseLine(text: string): KeptLine | undefined {
  return lineIn(fieldsOf(text) ?? {});
}

/** What the text stands for. Rejects what is none with `BACKEND_WRONG_TYPE`, and leaves it alone. */
export function parseRecord(
  text: string,
  where: { readonly backend: string; readonly key: string },
): KeptKey {
  return keptIn(text, where.key) ?? refuse(where);
}

/** The key of a record with its text, for listing; undefined for what is no record. */
export function keyOfRecord(text: string): string | undefined {
  const key = fieldsOf(text)?.["key"];
  return typeof key === "string" ? key : undefined;
}

function keptIn(text: string, key: string): KeptKey | undefined {
  const fields = fieldsOf(text);
  if (fields === undefined || fields["ql"] !== 1 || fields["key"] !== key) return undefined;
  const { owner, fence, expiresAt, counter, forgetAt } = fields;
  if (!isCount(counter) || typeof forgetAt !== "number") return undefined;
  const line = lineIn(fields);
  const kept = { counter: BigInt(counter), forgetAt, ...(line === undefined ? {} : { line }) };
  if (owner === undefined) return { ...kept, lock: undefined };
  if (typeof owner !== "string" || !isCount(fence) || typeof expiresAt !== "number") return undefined;
  return { ...kept, lock: { owner, fence: BigInt(fence), expiresAt } };
}

function textsOf(line: KeptLine | undefined): object {
  if (line === undefined) return {};
  const { waiting, reserved } = line;
  return {
    line: waiting.map(({ id, since, until }) => [id, since.toString(), Math.ceil(until)]),
    ...(reserved === undefined ? {} : { reserved: [reserved.id, Math.ceil(reserved.until)] }),
  };
}

/** What is no ticket is passed over: the line is advice, and no lock fails because of it. */
function lineIn({ line, reserved }: Readonly<Record<string, unknown>>): KeptLine | undefined {
  if (!Array.isArray(line)) return undefined;
  const waiting = line.slice(0, LINE_MAX).flatMap(ticketIn);
  const kept = reservationIn(reserved);
  return waiting.length === 0 && kept === undefined ? undefined : { waiting, reserved: kept };
}

function ticketIn(text: unknown): readonly KeptTicket[] {
  const [id, since, until]: readonly unknown[] = Array.isArray(text) ? text : [];
  if (typeof id !== "string" || typeof until !== "number") return [];
  return typeof since === "string" && /^\d{1,20}$/.test(since) ? [{ id, since: BigInt(since), until }] : [];
}

function reservationIn(text: unknown): Reservation | undefined {
  const [id, until]: readonly unknown[] = Array.isArray(text) ? text : [];
  return typeof id === "string" && typeof until === "number" ? { id, until } : undefined;
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const fields: unknown = JSON.parse(text);
    return typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is string {
  return typeof value === "string" && /^\d{1,16}$/.test(value);
}

function refuse({ backend, key }: { readonly backend: string; readonly key: string }): never {
  throw noRecord(backend, key);
}
