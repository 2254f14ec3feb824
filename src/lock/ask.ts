/** One question to every backend, each with an answer or a fault within a deadline: what operators' calls are made of. */
import type { BackendSession, StatusReply } from "../backend.js";
import { elapsedMs } from "../engine/time.js";
import { ClosedError, type BackendError } from "../errors.js";
import { sameServer } from "./contact.js";
import { Deadline } from "./deadline.js";
import type { Link } from "./link.js";
import { timeout, type Quorum } from "./poll.js";
import type { Interruption } from "./waiting.js";

/** What a backend said, or why it did not. */
export type Answer<T> =
  { readonly kind: "reply"; readonly reply: T } | { readonly kind: "fault"; readonly error: BackendError };

/** What every question needs of its locker. */
export interface Inquiry {
  readonly quorum: Quorum;
  /** The close of the locker, which ends every question with `CLOSED`. */
  readonly closing: Interruption;
  /** How long one backend may take, in milliseconds. */
  readonly deadlineMs: number;
}

/** Asks one backend. Resolves within the deadline; rejects only with `CLOSED`. */
export function ask<T>(
  { quorum, closing, deadlineMs }: Inquiry,
  link: Link,
  call: (session: BackendSession) => Promise<T>,
): Promise<Answer<T>> {
  const { system } = quorum;
  return new Promise((resolve, reject) => {
    if (closing.interrupted()) {
      reject(new ClosedError());
      return;
    }
    const sentAt = system.now();
    const deadline = new Deadline(system, { since: sentAt, deadlineMs }, giveUp);
    const stop = closing.listen(() => {
      deadline.cancel();
      reject(new ClosedError());
    });
    const settle = (answer: Answer<T>): void => {
      stop();
      deadline.cancel();
      resolve(answer);
    };
    function giveUp(): void {
      const error = timeout(link, elapsedMs(sentAt, system.now()));
      link.timedOut(error);
      settle({ kind: "fault", error });
    }
    link.send(
      call,
      (reply) => settle({ kind: "reply", reply }),
      (error) => settle({ kind: "fault", error }),
    );
  });
}

/** Asks a backend whether it votes, and has the locker take note of who answered. */
export async function askStatus(inquiry: Inquiry, link: Link): Promise<Answer<StatusReply>> {
  const { contact } = inquiry.quorum;
  const sentAt = contact.clock();
  const answer = await ask(inquiry, link, (session) => session.status());
  if (answer.kind === "fault") {
    contact.failed(link, answer.error);
    return answer;
  }
  const refused = contact.answered(link, sentAt, answer.reply);
  return refused === undefined ? answer : { kind: "fault", error: refused };
}

/** Asks some backends whether they vote. Two that turn out to be one server count once, whichever answered first. */
export async function askStatusOf(
  inquiry: Inquiry,
  links: readonly Link[],
): Promise<readonly Answer<StatusReply>[]> {
  const answers = await Promise.all(links.map((link) => askStatus(inquiry, link)));
  return answers.map((answer, i) => {
    const link = links[i];
    if (answer.kind === "fault" || link?.twin === undefined) return answer;
    return { kind: "fault", error: sameServer(link, link.twin) };
  });
}

/**
 * Makes sure that the backends are those of this deployment before something is changed on them. Rejects with
 * `CONFIG_MISMATCH` or `SAME_BACKEND`; a backend that does not answer is no hindrance.
 */
export async function checkDeployment(inquiry: Inquiry): Promise<void> {
  await askStatusOf(inquiry, inquiry.quorum.links);
  const problem = inquiry.quorum.contact.problem();
  if (problem !== undefined) throw problem;
}
