/** What an operator changes on all backends: the lock of a key taken away, its counter lifted, a backend quarantined. */
import type { BackendSession } from "../backend.js";
import { elapsedMs } from "../engine/time.js";
import { InvalidOptionError, NoQuorumError, show, type BackendError, type VoteReport } from "../errors.js";
import { ask, checkDeployment, type Answer, type Inquiry } from "./ask.js";
import type { Reporter } from "./events.js";

/** What a forced release did on one backend. A fault's effect is unknown unless its code says otherwise. */
export type ForcedRelease =
  | { readonly backend: string; readonly outcome: "released" | "nothing-there" }
  | { readonly backend: string; readonly outcome: "fault"; readonly error: BackendError };

/** What a forced release did on every backend. */
export interface ForceReleaseReport {
  readonly key: string;
  /** Whether any backend had a lock. */
  readonly released: boolean;
  readonly backends: readonly ForcedRelease[];
}

/** What a backend remembers of a key after its counter was lifted. */
export type LiftedCounter =
  | { readonly backend: string; readonly outcome: "lifted"; readonly counter: bigint }
  | { readonly backend: string; readonly outcome: "fault"; readonly error: BackendError };

/** The counter of a key on every backend. */
export interface LiftReport {
  readonly key: string;
  /** What was asked for. */
  readonly token: bigint;
  readonly backends: readonly LiftedCounter[];
}

/** A quarantine that was begun by hand. */
export interface QuarantineReport {
  readonly backend: string;
  /** For how long it does not vote, in milliseconds. */
  readonly remainingMs: number;
}

/** Deletes the lock of a key on all backends, whoever owns it. Rejects with `NO_QUORUM` unless q of them confirmed. */
export async function forceReleaseEverywhere(
  inquiry: Inquiry,
  reporter: Reporter,
  key: string,
): Promise<ForceReleaseReport> {
  const changes = await change(inquiry, (session) => session.forceRelease(key));
  const votes = changes.map(({ vote }) => vote);
  const released = changes.some(({ answer }) => answer.kind === "reply" && answer.reply);
  reporter.emit("forceReleased", () => ({ key, released, votes }));
  refuseMinority(inquiry, { key, votes }, "the lock may still be on the others; repeat it when they answer");
  const backends = changes.map(({ answer, vote: { backend } }): ForcedRelease => {
    if (answer.kind === "fault") return { backend, outcome: "fault", error: answer.error };
    return { backend, outcome: answer.reply ? "released" : "nothing-there" };
  });
  return { key, released, backends };
}

/** Lifts the counter of a key on all backends to at least `token`. Rejects with `NO_QUORUM` unless q confirmed. */
export async function liftEverywhere(
  inquiry: Inquiry,
  reporter: Reporter,
  of: { readonly key: string; readonly token: bigint },
): Promise<LiftReport> {
  const { key, token } = of;
  const changes = await change(inquiry, (session) => session.lift(key, token));
  const votes = changes.map(({ vote }) => vote);
  reporter.emit("lifted", () => ({ key, token, votes }));
  refuseMinority(
    inquiry,
    { key, votes },
    "later tokens may still be lower; repeat it when more backends answer",
  );
  const backends = changes.map(({ answer, vote: { backend } }): LiftedCounter => {
    if (answer.kind === "fault") return { backend, outcome: "fault", error: answer.error };
    return { backend, outcome: "lifted", counter: answer.reply };
  });
  return { key, token, backends };
}

/** Begins a quarantine of one backend. Rejects with what the backend answered, or that it did not. */
export async function quarantineBackend(
  inquiry: Inquiry,
  reporter: Reporter,
  name: string,
): Promise<QuarantineReport> {
  const { links, contact } = inquiry.quorum;
  const link = links.find(({ backend }) => backend.name === name);
  if (link === undefined) {
    const names = links.map(({ backend }) => show(backend.name)).join(", ");
    throw new InvalidOptionError("quarantine(backend)", `the name of a backend: ${names}`, name);
  }
  const sentAt = contact.clock();
  const answer = await ask(inquiry, link, (session) => session.quarantine());
  if (answer.kind === "fault") {
    contact.failed(link, answer.error);
    throw answer.error;
  }
  contact.answered(link, sentAt, answer.reply);
  const report: QuarantineReport = { backend: name, remainingMs: answer.reply.remainingMs };
  reporter.emit("quarantineBegun", () => report);
  return report;
}

/** One backend's part in a change. */
interface Changed<T> {
  readonly answer: Answer<T>;
  readonly vote: VoteReport;
}

/** Sends a change to all backends of a deployment that was looked at first. */
async function change<T>(
  inquiry: Inquiry,
  call: (session: BackendSession) => Promise<T>,
): Promise<readonly Changed<T>[]> {
  const { links, system } = inquiry.quorum;
  await checkDeployment(inquiry);
  const startedAt = system.now();
  return Promise.all(
    links.map(async (link) => {
      const answer = await ask(inquiry, link, call);
      const common = { backend: link.backend.name, elapsedMs: elapsedMs(startedAt, system.now()) };
      if (answer.kind === "reply") return { answer, vote: { ...common, vote: "confirmed" } };
      const { error } = answer;
      return { answer, vote: { ...common, vote: "fault", code: error.code, error } };
    }),
  );
}

function refuseMinority(
  { quorum }: Inquiry,
  { key, votes }: { readonly key: string; readonly votes: readonly VoteReport[] },
  hint: string,
): void {
  if (votes.filter(({ vote }) => vote === "confirmed").length >= quorum.quorum) return;
  const waitedMs = Math.max(...votes.map(({ elapsedMs }) => elapsedMs));
  throw new NoQuorumError({ key, votes, attempts: 1, waitedMs, retryAfterMs: undefined }, hint);
}
