/** Looking at keys: what every backend has of them, summed up (engine/survey.ts). */
import type { KeyRecord, StatusReply } from "../backend.js";
import { assert } from "../engine/assert.js";
import { survey, type KeySighting, type KeyState, type LockRole } from "../engine/survey.js";
import type { BackendError } from "../errors.js";
import { ask, askStatusOf, type Answer, type Inquiry } from "./ask.js";
import { ownerHash } from "./events.js";
import type { Link } from "./link.js";

/** What one backend has of a key. */
export type BackendView =
  | {
      readonly backend: string;
      /** A live lock is there. */
      readonly kind: "locked";
      /** The first eight hex digits of the owner's SHA-256. */
      readonly ownerHash: string;
      /** What this backend granted; the lease's token is the highest of its quorum. */
      readonly fence: bigint;
      /** The highest number that this backend remembers. */
      readonly counter: bigint;
      /** Until the lock ends by the backend's clock, unless it is extended. */
      readonly remainingMs: number;
      readonly role: LockRole;
      /** For how long the backend does not vote yet, since its memory is new; undefined in service. */
      readonly quarantinedMs: number | undefined;
    }
  | {
      readonly backend: string;
      /** No live lock is there. */
      readonly kind: "free";
      readonly counter: bigint;
      readonly quarantinedMs: number | undefined;
    }
  | {
      readonly backend: string;
      /** It did not answer, or does not count: with the mark of another configuration, or the same server as another. */
      readonly kind: "fault";
      readonly error: BackendError;
    };

/** What all backends have of a key. They were asked at about the same time, not at one instant. */
export interface KeyReport {
  readonly key: string;
  readonly state: KeyState;
  /** Whose lock it is: the holder's, or that of an orphan. The owner itself is the right to release, and never shown. */
  readonly ownerHash: string | undefined;
  /** The holder's token, where it shows: a number that q backends remember and that one of them granted. */
  readonly token: bigint | undefined;
  /** Held: until fewer than q backends have it, unless it is extended. Else until the last lock seen ends. */
  readonly remainingMs: number | undefined;
  /** The highest number that any backend remembers; 0 when there is none. The next token is above that of q of them. */
  readonly counter: bigint;
  /** How many backends decide. */
  readonly quorum: number;
  /** In the order of the locker's backends. */
  readonly views: readonly BackendView[];
}

/** Looks at one key. Resolves within the deadline, whoever does not answer. */
export async function inspectKey(inquiry: Inquiry, key: string): Promise<KeyReport> {
  const [report] = await inspectKeys(inquiry, [key]);
  return report as KeyReport;
}

/**
 * Looks at some keys at once, and asks each backend once whether it votes. Backends in `silent` are not asked, and those
 * that did not say who they are are added to it.
 */
export async function inspectKeys(
  inquiry: Inquiry,
  keys: readonly string[],
  silent: Map<Link, BackendError> = new Map<Link, BackendError>(),
): Promise<readonly KeyReport[]> {
  const { links, quorum } = inquiry.quorum;
  const asked = links.filter((link) => !silent.has(link));
  const records = (link: Link): Promise<readonly Answer<KeyRecord>[]> =>
    Promise.all(keys.map((key) => ask(inquiry, link, (session) => session.inspect(key))));
  const [statuses, answers] = await Promise.all([
    askStatusOf(inquiry, asked),
    Promise.all(asked.map(records)),
  ]);
  statuses.forEach((status, i) => {
    const link = asked[i];
    if (status.kind === "fault" && link !== undefined) silent.set(link, status.error);
  });
  return keys.map((key, k) => {
    const look = (link: Link): Look => {
      const error = silent.get(link);
      if (error !== undefined) return { kind: "fault", error };
      const i = asked.indexOf(link);
      return both(statuses[i], answers[i]?.[k]);
    };
    return report(
      { key, quorum },
      links.map((link) => ({ link, answer: look(link) })),
    );
  });
}

/** What one backend said of one key, when it also said who it is. */
type Look = Answer<{ readonly record: KeyRecord; readonly quarantinedMs: number | undefined }>;

/** One that is not known to be of this deployment counts for nothing, whatever it has of the key. */
function both(status: Answer<StatusReply> | undefined, record: Answer<KeyRecord> | undefined): Look {
  assert(status !== undefined && record !== undefined, "every backend that is asked answers or fails");
  if (status.kind === "fault") return status;
  if (record.kind === "fault") return record;
  const quarantinedMs = status.reply.kind === "quarantined" ? status.reply.remainingMs : undefined;
  return { kind: "reply", reply: { record: record.reply, quarantinedMs } };
}

function report(
  of: { readonly key: string; readonly quorum: number },
  looks: readonly { readonly link: Link; readonly answer: Look }[],
): KeyReport {
  const sum = survey(
    looks.map(({ answer }) => sighting(answer)),
    of.quorum,
  );
  return {
    key: of.key,
    state: sum.state,
    ownerHash: sum.owner && ownerHash(sum.owner),
    token: sum.token,
    remainingMs: sum.remainingMs,
    counter: sum.counter,
    quorum: of.quorum,
    views: looks.map(({ link, answer }, i) => view(link.backend.name, answer, sum.roles[i])),
  };
}

function sighting(look: Look): KeySighting {
  if (look.kind === "fault") return { kind: "fault" };
  const { record, quarantinedMs } = look.reply;
  const doubtful = quarantinedMs !== undefined;
  const { lock, counter } = record;
  return lock === undefined
    ? { kind: "free", counter, doubtful }
    : { kind: "locked", ...lock, counter, doubtful };
}

function view(backend: string, look: Look, role: LockRole | undefined): BackendView {
  if (look.kind === "fault") return { backend, kind: "fault", error: look.error };
  const { record, quarantinedMs } = look.reply;
  const { lock, counter } = record;
  if (lock === undefined || role === undefined) return { backend, kind: "free", counter, quarantinedMs };
  const { owner, fence, remainingMs } = lock;
  return {
    backend,
    kind: "locked",
    ownerHash: ownerHash(owner),
    fence,
    counter,
    remainingMs,
    role,
    quarantinedMs,
  };
}
