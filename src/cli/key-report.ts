/** What a locker reports of a key, in words and as JSON; shared by `inspect`, `list`, `watch` and `release`. */
import { ConfigMismatchError, SameBackendError } from "../errors.js";
import type { BackendView, KeyReport } from "../lock/inspect.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";
import { faultHint } from "./explain.js";
import { formatMs } from "./duration.js";
import { tokenText, wholeMs } from "./json.js";
import { keyText } from "./key-text.js";
import { coloursOfStdout, wrapped } from "./terminal.js";

/** Throws `CONFIG_MISMATCH` or `SAME_BACKEND` where the backends are not what the options say: nothing can be told then. */
export function refuseWrongSet({ views }: Pick<KeyReport, "views">): void {
  for (const view of views) {
    if (view.kind !== "fault") continue;
    if (view.error.code === "BACKEND_MARK_MISMATCH")
      throw new ConfigMismatchError(view.backend, { cause: view.error });
    if (view.error.code === "BACKEND_SAME_SERVER") {
      const twin = /same server as (.*?), and counts/.exec(view.error.message)?.[1] ?? "another one";
      throw new SameBackendError([twin, view.backend], "one and the same server");
    }
  }
}

/** The error for a state that cannot be told: what each backend lacks, and what to do. */
export function cannotTell({ key, views }: KeyReport): CommandLineError {
  const lacking = views.flatMap((view): readonly string[] => {
    if (view.kind === "fault") return [view.error.message.replace("backend ", "")];
    return view.quarantinedMs === undefined ? [] : [`${view.backend}: does not vote yet, its memory is new`];
  });
  const codes = views.flatMap((view) => (view.kind === "fault" ? [view.error.code] : []));
  const hint = codes.length === 0 ? "ask again when they vote" : faultHint(codes);
  const line = `who holds ${keyText(key)} cannot be told (${lacking.join("; ")}); ${hint}`;
  return new CommandLineError(EXIT.unavailable, line);
}

/** All of it: the state and what it means, a line for each backend, and what may need a word. */
export function reportText(report: KeyReport): string {
  const { dim } = coloursOfStdout();
  const ghost = report.views.some((view) => view.kind === "locked" && view.role === "ghost");
  const note = "A ghost was stored too late to count, or is left over; it ends by itself.";
  return [wrapped(stateText(report)), ...viewLines(report), ...(ghost ? [dim(note)] : [])].join("\n");
}

/** The state in one line, with what it means. */
export function stateText(report: KeyReport): string {
  return `${painted(report)} ${meaning(report)}`;
}

/** One line for each backend. */
export function viewLines({ views }: KeyReport): readonly string[] {
  const width = Math.max(...views.map(({ backend }) => backend.length));
  return views.map((view) => `  ${view.backend.padEnd(width)}  ${viewText(view)}`);
}

/** The word for a state, in its colour. */
function painted({ state, key }: KeyReport): string {
  const { bold, good, doubtful, bad } = coloursOfStdout();
  const paint = {
    held: good,
    free: (text: string) => text,
    contended: doubtful,
    orphan: doubtful,
    unknown: bad,
  }[state];
  return `${bold(keyText(key))} is ${paint(state === "orphan" ? "an orphan" : state)}:`;
}

function meaning(report: KeyReport): string {
  const { state, views, quorum, remainingMs = 0, token, counter, ownerHash } = report;
  const left = formatMs(remainingMs);
  const count = (test: (view: BackendView) => boolean): number => views.filter(test).length;
  const locked = count(({ kind }) => kind === "locked");
  const n = views.length;
  switch (state) {
    case "held": {
      const holding = count((view) => view.kind === "locked" && view.role === "holder");
      const which = token === undefined ? "token not shown by enough backends" : `token ${token}`;
      return `owner ${ownerHash} has it on ${holding} of ${n} backends, ${which}; it ends in ${left} unless it is extended`;
    }
    case "contended":
      return `several owners have it, none on the ${quorum} backends that are needed; the last of that ends in ${left}`;
    case "orphan":
      return (
        `owner ${ownerHash} has it on ${locked} of ${n} backends, too few to hold it (${quorum} needed): left over from ` +
        `a holder or attempt that died; it ends by itself in ${left}`
      );
    case "free":
      return counter === 0n
        ? "nobody has it, and it was not used lately"
        : `nobody has it; the last token was ${counter}`;
    case "unknown": {
      const faults = count(({ kind }) => kind === "fault");
      const doubtful = count((view) => view.kind !== "fault" && view.quarantinedMs !== undefined);
      const parts = [
        ...(faults === 0 ? [] : [`${faults} of ${n} backends failed`]),
        ...(doubtful === 0 ? [] : [`${doubtful} of ${n} may have forgotten it (their memory is new)`]),
        locked === 0 ? "no lock was seen" : `a lock was seen on ${locked}`,
      ];
      return `${parts.join(", ")}; somebody may hold it`;
    }
  }
}

const ROLES = {
  holder: "the holder's",
  "possible-holder": "perhaps the holder's",
  ghost: "a ghost's",
  rival: "a rival's",
  orphan: "an orphan's",
} as const;

/** What one backend has, in words. */
function viewText(view: BackendView): string {
  const { good, dim, doubtful, bad } = coloursOfStdout();
  if (view.kind === "fault")
    return bad(`failed: ${view.error.message.replace(`backend ${view.backend}: `, "")}`);
  const quarantine =
    view.quarantinedMs === undefined
      ? ""
      : doubtful(`, does not vote for another ${formatMs(view.quarantinedMs)} (its memory is new)`);
  if (view.kind === "free") return dim("free") + quarantine;
  const { role, ownerHash, fence, remainingMs } = view;
  const paint = role === "holder" ? good : doubtful;
  const rest = `owner ${ownerHash}, granted ${fence}, ${formatMs(remainingMs)} left`;
  return `${paint(ROLES[role])}, ${rest}${quarantine}`;
}

/** As `--json` prints it. */
export function reportJson(report: KeyReport): object {
  const { key, state, ownerHash, token, remainingMs, counter, quorum, views } = report;
  return {
    key,
    state,
    owner: ownerHash ?? null,
    token: tokenText(token),
    remainingMs: wholeMs(remainingMs),
    counter: tokenText(counter),
    quorum,
    backends: views.map(viewJson),
  };
}

function viewJson(view: BackendView): object {
  const locked = view.kind === "locked" ? view : undefined;
  const answered = view.kind === "fault" ? undefined : view;
  const error = view.kind === "fault" ? view.error : undefined;
  return {
    backend: view.backend,
    kind: view.kind,
    role: locked?.role ?? null,
    owner: locked?.ownerHash ?? null,
    fence: tokenText(locked?.fence),
    counter: tokenText(answered?.counter),
    remainingMs: wholeMs(locked?.remainingMs),
    quarantinedMs: wholeMs(answered?.quarantinedMs),
    code: error?.code ?? null,
    error: error?.message ?? null,
  };
}
