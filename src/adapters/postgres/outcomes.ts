/** What the answers of the statements mean, of those for one key and of those for many alike. */
import { BackendError, show } from "../../errors.js";
import type { AcquireOutcome, ExtendOutcome, RaiseOutcome } from "../shared/marked-session.js";
import { counterBroken } from "../shared/refusals.js";

/** Whose answer it is, for messages. */
export interface Asker {
  readonly name: string;
  readonly key: string;
}

/** Of an acquire; "again": another one was faster. */
export function acquireOutcome(reply: string, asker: Asker): AcquireOutcome | "again" {
  const rest = reply.slice(1);
  switch (reply[0]) {
    case "g":
      return { kind: "granted", fence: BigInt(rest) };
    case "h":
      return { kind: "held", remainingMs: Number(rest) };
    case "k":
      return { kind: "held", remainingMs: Number(rest), reserved: true };
    case "q":
      return { kind: "quarantined", remainingMs: Number(rest) };
    case "m":
      return { kind: "other-mark" };
    case "a":
      return "again";
    default:
      throw badReply(reply, asker);
  }
}

/** Of a raise. */
export function raiseOutcome(reply: string, asker: Asker): RaiseOutcome {
  switch (reply[0]) {
    case "r":
      return { kind: "raised" };
    case "n":
      return { kind: "refused" };
    case "m":
      return { kind: "other-mark" };
    default:
      throw badReply(reply, asker);
  }
}

/** Of an extension. */
export function extendOutcome(reply: string, asker: Asker): ExtendOutcome {
  switch (reply[0]) {
    case "e":
      return { kind: "extended" };
    case "c":
      return { kind: "recreated" };
    case "n":
      return { kind: "not-owner" };
    case "q":
      return { kind: "quarantined", remainingMs: Number(reply.slice(1)) };
    case "m":
      return { kind: "other-mark" };
    default:
      throw badReply(reply, asker);
  }
}

function badReply(reply: string, { name, key }: Asker): BackendError {
  if (reply.startsWith("x")) return counterBroken(name, key);
  return new BackendError("BACKEND_REFUSED", { backend: name, what: `it answered ${show(reply)}` });
}
