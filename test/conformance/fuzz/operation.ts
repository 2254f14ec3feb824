/** What the conformance fuzz asks of a backend, in a form that can be asked of two of them, and their answers. */
import type { BackendSession, KeyRecord } from "../../../src/backend.js";
import { codeOf, text } from "../../../src/testing/conformance/check.js";

/** One operation. Memories are told apart by when they were first seen, since their names differ between backends. */
export type Operation =
  | {
      readonly op: "acquire";
      readonly key: string;
      readonly owner: string;
      readonly ttlMs: number;
      readonly proposal: bigint;
    }
  | {
      readonly op: "extend";
      readonly key: string;
      readonly owner: string;
      readonly ttlMs: number;
      readonly token: bigint;
      readonly mayHeal: boolean;
    }
  | {
      readonly op: "raise";
      readonly key: string;
      readonly owner: string;
      readonly fence: bigint;
      readonly token: bigint;
    }
  | { readonly op: "release"; readonly key: string; readonly owner: string }
  | { readonly op: "forceRelease" | "inspect"; readonly key: string }
  | { readonly op: "lift"; readonly key: string; readonly token: bigint }
  | { readonly op: "status" | "quarantine" }
  | { readonly op: "bootstrap" | "join"; readonly memory: number }
  | { readonly op: "restart"; readonly memoryIs: "lost" | "kept" };

/** Which session asks: one of two that agree, or one that is configured otherwise. */
export type Asker = "first" | "second" | "mismatched";

/** An answer without what may differ: names of memories are numbers, and the remaining time stands apart. */
export interface Answer {
  /** Equal texts are equal answers. */
  readonly says: string;
  /** The word that tells what kind of answer it is, for counting. */
  readonly kind: string;
  readonly fence: bigint | undefined;
  readonly remainingMs: number | undefined;
}

/** Asks for anything but a restart. An answer that is an error of ours is its code. */
export async function ask(
  session: BackendSession,
  operation: Exclude<Operation, { op: "restart" }>,
  memories: string[],
): Promise<Answer> {
  try {
    return answerOf(await call(session, operation, memories), memories);
  } catch (error) {
    const code = codeOf(error);
    if (typeof code !== "string" || !code.startsWith("BACKEND_")) throw error;
    return { says: code, kind: code, fence: undefined, remainingMs: undefined };
  }
}

function call(
  session: BackendSession,
  operation: Exclude<Operation, { op: "restart" }>,
  memories: readonly string[],
): Promise<unknown> {
  switch (operation.op) {
    case "acquire":
      return session.acquire(operation);
    case "extend":
      return session.extend(operation);
    case "raise":
      return session.raise(operation);
    case "release":
      return session.release(operation.key, operation.owner);
    case "forceRelease":
      return session.forceRelease(operation.key);
    case "inspect":
      return session.inspect(operation.key);
    case "lift":
      return session.lift(operation.key, operation.token);
    case "status":
      return session.status();
    case "quarantine":
      return session.quarantine();
    case "bootstrap":
    case "join":
      return session[operation.op](memories.at(operation.memory) ?? "none");
  }
}

function answerOf(reply: unknown, memories: string[]): Answer {
  if (typeof reply !== "object" || reply === null) {
    return { says: text(reply), kind: text(reply), fence: undefined, remainingMs: undefined };
  }
  if ("counter" in reply) {
    const { lock, counter } = reply as KeyRecord;
    const says = text({ counter, lock: lock && { owner: lock.owner, fence: lock.fence } });
    return { says, kind: "record", fence: lock?.fence, remainingMs: lock?.remainingMs };
  }
  const { identity, remainingMs, ...rest } = reply as {
    readonly kind: string;
    readonly identity: { readonly incarnation: string };
    readonly remainingMs?: number;
    readonly fence?: bigint;
  };
  return {
    says: text({ ...rest, memory: numberOf(identity.incarnation, memories) }),
    kind: rest.kind,
    fence: rest.fence,
    remainingMs,
  };
}

function numberOf(incarnation: string, memories: string[]): number {
  const known = memories.indexOf(incarnation);
  return known === -1 ? memories.push(incarnation) - 1 : known;
}
