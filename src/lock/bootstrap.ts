/** The explicit first start of a deployment, for `restartGuard: "strict"`. */
import type { BackendSession } from "../backend.js";
import { elapsedMs, type System } from "../engine/time.js";
import { BackendError, ConfigMismatchError, NoQuorumError, type VoteReport } from "../errors.js";
import { within, type Link } from "./link.js";
import { timeout } from "./poll.js";

/**
 * Puts every quarantined backend into service, each conditional on the memory that it has now. Resolves to the names of
 * those it put into service; rejects with `NO_QUORUM` unless all of them answered, or with `CONFIG_MISMATCH`.
 */
export async function bootstrapAll(
  links: readonly Link[],
  system: System,
  deadlineMs: number,
): Promise<readonly string[]> {
  const startedAt = system.now();
  const ask = <T extends object>(link: Link, call: (session: BackendSession) => Promise<T>): Promise<T> =>
    within(system, deadlineMs, new Promise<T>((resolve, reject) => link.send(call, resolve, reject))).then(
      (answer) => {
        if (answer === undefined) throw timeout(link, elapsedMs(startedAt, system.now()));
        return answer;
      },
    );

  const started: string[] = [];
  const bootstrap = async (link: Link): Promise<VoteReport> => {
    const backend = link.backend.name;
    try {
      const status = await ask(link, (session) => session.status());
      if (status.kind === "quarantined") {
        const { incarnation } = status.identity;
        await ask(link, (session) => session.bootstrap(incarnation).then(() => status));
        started.push(backend);
      }
      return { backend, vote: "granted", elapsedMs: elapsedMs(startedAt, system.now()) };
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      if (error.code === "BACKEND_MARK_MISMATCH") throw new ConfigMismatchError(backend, { cause: error });
      return {
        backend,
        vote: "fault",
        elapsedMs: elapsedMs(startedAt, system.now()),
        code: error.code,
        error,
      };
    }
  };

  const votes = await Promise.all(links.map(bootstrap));
  if (votes.every(({ vote }) => vote === "granted")) return started;
  const waitedMs = elapsedMs(startedAt, system.now());
  throw new NoQuorumError({ key: "(bootstrap)", votes, attempts: 1, waitedMs, retryAfterMs: undefined });
}
