/** The record of a key as text, for stores that keep text. JSON, so that a person who looks into the store can read it. */
import type { KeptKey } from "../../engine/record.js";
import { noRecord } from "./refusals.js";

/** As text; the key stands in it too, since a store may know it by a hash only. */
export function formatRecord(key: string, { lock, counter, forgetAt }: KeptKey): string {
  const held =
    lock === undefined
      ? {}
      : { owner: lock.owner, fence: lock.fence.toString(), expiresAt: Math.ceil(lock.expiresAt) };
  return JSON.stringify({ ql: 1, key, ...held, counter: counter.toString(), forgetAt: Math.ceil(forgetAt) });
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
  const kept = { counter: BigInt(counter), forgetAt };
  if (owner === undefined) return { ...kept, lock: undefined };
  if (typeof owner !== "string" || !isCount(fence) || typeof expiresAt !== "number") return undefined;
  return { ...kept, lock: { owner, fence: BigInt(fence), expiresAt } };
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
