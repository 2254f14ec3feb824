/** What `check` concludes from what the backends say of themselves: pure, in words for people. */
import type { Deployment, Finding } from "../backend.js";
import type { BackendError } from "../errors.js";
import type { BackendExamination } from "../lock/examine.js";
import { formatMs } from "./duration.js";
import type { Trial } from "./trial.js";

/** One conclusion. */
export interface Note {
  readonly level: Finding["level"];
  readonly topic: Finding["topic"] | "answer" | "service" | "twin" | "trial" | "number";
  readonly text: string;
  /** What to do about it; undefined where nothing is to be done. */
  readonly remedy: string | undefined;
}

/** Whether a backend takes part. "new": nobody used it yet. "refused": it answers, but not to this configuration. */
export type Standing = "votes" | "quarantined" | "new" | "refused" | "unreachable" | "twin";

/** The conclusions about one backend; problems first. */
export interface BackendVerdict {
  readonly backend: string;
  /** Product and version; undefined where it did not say. */
  readonly server: string | undefined;
  readonly standing: Standing;
  readonly latencyMs: number | undefined;
  /** How far its wall clock is ahead of this host's, in milliseconds. */
  readonly clockOffsetMs: number | undefined;
  readonly notes: readonly Note[];
}

/** All conclusions. */
export interface Verdict {
  readonly backends: readonly BackendVerdict[];
  /** About all of them together. */
  readonly together: readonly Note[];
  /** How many would vote now. */
  readonly votes: number;
  /** How many must. */
  readonly quorum: number;
}

/** A round trip that every lock takes, and that is worth a word. */
const SLOW_MS = 100;

/** Judges. `trials`: by backend; those that were not tried are missing. */
export function judge(
  examined: readonly BackendExamination[],
  deployment: Deployment,
  trials: ReadonlyMap<string, Trial>,
): Verdict {
  const seen = examined.map((each) => ({ each, standing: standingOf(each, examined) }));
  const inUse = seen.some(({ standing }) => standing === "votes" || standing === "quarantined");
  const hostIsOff = isHostOff(examined, deployment);
  const backends = seen.map(({ each, standing }): BackendVerdict => {
    const { backend, examination, latencyMs, clock } = each;
    const reply = examination.kind === "reply" ? examination.reply : undefined;
    const notes = [
      ...serviceNotes(each, { standing, inUse, restartGuard: deployment.restartGuard }),
      ...slowNotes(latencyMs),
      ...(reply?.findings ?? []).filter(isNews).map((finding): Note => ({ remedy: undefined, ...finding })),
      ...(hostIsOff ? [] : clockNotes(each, deployment)),
      ...trialNotes(trials.get(backend)),
    ];
    return {
      backend,
      server: reply?.server,
      standing,
      latencyMs,
      clockOffsetMs: clock?.offsetMs,
      notes: bySeverity(notes),
    };
  });
  const votes = seen.filter(({ standing }) => standing === "votes").length;
  const together = [
    ...numberNotes({ n: examined.length, votes, seen }, deployment),
    ...twinNotes(examined),
    ...(hostIsOff ? [hostClockNote(examined, deployment)] : pairNotes(examined, deployment)),
  ];
  return { backends, together: bySeverity(together), votes, quorum: deployment.quorum };
}

/** Every note, with the backend that it is about. */
export function notesOf({
  backends,
  together,
}: Verdict): readonly { readonly about: string; readonly note: Note }[] {
  return [
    ...backends.flatMap(({ backend, notes }) => notes.map((note) => ({ about: backend, note }))),
    ...together.map((note) => ({ about: "all", note })),
  ];
}

function standingOf(each: BackendExamination, all: readonly BackendExamination[]): Standing {
  const { status, sameServerAs } = each;
  const before = all.slice(0, all.indexOf(each));
  if (before.some(({ backend }) => sameServerAs.includes(backend))) return "twin";
  if (all.every(isNew) || status === undefined) return "new";
  if (status.kind === "reply") return status.reply.kind === "in-service" ? "votes" : "quarantined";
  return each.latencyMs === undefined ? "unreachable" : "refused";
}

/** Nobody used it yet, or nobody knows of it. */
function isNew({ status }: BackendExamination): boolean {
  if (status === undefined) return true;
  return status.kind === "reply" && status.reply.kind === "quarantined" && !status.reply.joined;
}

interface Circumstances {
  readonly standing: Standing;
  /** Some backend of the set is in use. */
  readonly inUse: boolean;
  readonly restartGuard: Deployment["restartGuard"];
}

function serviceNotes(
  each: BackendExamination,
  { standing, inUse, restartGuard }: Circumstances,
): readonly Note[] {
  const note = (level: Note["level"], text: string, remedy?: string): readonly Note[] => [
    { level, topic: "service", text, remedy },
  ];
  switch (standing) {
    case "votes":
      return note("good", "in service, votes");
    case "quarantined": {
      const leftMs =
        each.status?.kind === "reply" && "remainingMs" in each.status.reply
          ? each.status.reply.remainingMs
          : 0;
      const text = `does not vote for another ${formatMs(leftMs)}: its memory is new (a restart, a restore, or the first use)`;
      return note("warning", text, startHint(restartGuard));
    }
    case "new":
      if (inUse)
        return note(
          "warning",
          "has no mark, while others are in use: it is new, or lost all that it had; it will not vote for one quarantine",
          "nothing, if you know why; it joins by itself",
        );
      return note(
        "good",
        each.status === undefined
          ? "new: never used; the first use writes a mark with the number of backends, quorum, max TTL that it is given"
          : "new: not in service yet",
        restartGuard === "strict" ? "run quorum-lock init with these options, once" : undefined,
      );
    case "refused":
    case "unreachable":
      return faultNotes(each);
    case "twin":
      return [];
  }
}

function startHint(restartGuard: Deployment["restartGuard"]): string {
  return restartGuard === "strict"
    ? "wait, or, if all of it is new and no lock is in use, run quorum-lock init"
    : "wait: it passes by itself";
}

const REMEDIES: Partial<Record<BackendError["code"], string>> = {
  BACKEND_NOT_CONNECTED: "check that it runs, and that its URL names it",
  BACKEND_DISCONNECTED: "check that it runs, and that its URL names it",
  BACKEND_TIMEOUT: "check that it runs, and the network to it",
  BACKEND_SILENT: "check that it runs, and the network to it",
  BACKEND_AUTH: "check user and password in its URL",
  BACKEND_NO_PERMISSION: "give its user the least rights (docs/adapters/redis.md)",
  BACKEND_MARK_MISMATCH: "give check the options that your programs have: every backend, --quorum, --max-ttl",
  BACKEND_LOADING: "wait until it has loaded its data",
};

function faultNotes({ status, examination, latencyMs }: BackendExamination): readonly Note[] {
  const errors = [status, examination].flatMap((answer) => (answer?.kind === "fault" ? [answer.error] : []));
  const replica = examination.kind === "reply" && examination.reply.findings.some(isReplica);
  const told = new Set<string>();
  return errors.flatMap((error): readonly Note[] => {
    // That it is a replica says it better.
    if ((replica && error.code === "BACKEND_READONLY") || told.has(error.message)) return [];
    told.add(error.message);
    const text = error.message.replace(`backend ${error.backend}: `, "");
    const remedy = REMEDIES[error.code] ?? `see ${error.code} in docs/errors.md`;
    return [{ level: "problem", topic: latencyMs === undefined ? "answer" : "service", text, remedy }];
  });
}

/** The version stands in the title. */
function isNews({ topic, level }: Finding): boolean {
  return topic !== "version" || level !== "good";
}

function isReplica({ topic, level }: Finding): boolean {
  return topic === "role" && level === "problem";
}

function slowNotes(latencyMs: number | undefined): readonly Note[] {
  if (latencyMs === undefined || latencyMs < SLOW_MS) return [];
  const text = `takes ${formatMs(latencyMs)} to answer; where a quorum is that slow, every lock is`;
  return [{ level: "warning", topic: "answer", text, remedy: "look at its load and at the network to it" }];
}

const TIME_REMEDY = "have a time service (chrony, ntpd) keep all clocks right, by slewing";

function clockNotes({ clock }: BackendExamination, { clockSkewMs }: Deployment): readonly Note[] {
  if (clock === undefined) return [];
  const { offsetMs, uncertaintyMs } = clock;
  const atLeastMs = Math.abs(offsetMs) - uncertaintyMs;
  const direction = offsetMs < 0 ? "behind" : "ahead of";
  const text = `its clock is ${formatMs(Math.abs(offsetMs))} ${direction} this host's`;
  const allowed = `${formatMs(clockSkewMs)} is allowed (--clock-skew)`;
  if (atLeastMs > clockSkewMs)
    return [{ level: "problem", topic: "clock", text: `${text}; ${allowed}`, remedy: TIME_REMEDY }];
  if (atLeastMs > clockSkewMs / 2)
    return [{ level: "warning", topic: "clock", text: `${text}; ${allowed}`, remedy: TIME_REMEDY }];
  return [
    {
      level: "good",
      topic: "clock",
      text: `${text}, give or take ${formatMs(Math.ceil(uncertaintyMs))}`,
      remedy: undefined,
    },
  ];
}

/** All backends agree, and this host is the one that is wrong. */
function isHostOff(examined: readonly BackendExamination[], { clockSkewMs }: Deployment): boolean {
  const offsets = examined.flatMap(({ clock }) => (clock === undefined ? [] : [clock.offsetMs]));
  return (
    offsets.length > 1 &&
    Math.max(...offsets) - Math.min(...offsets) <= clockSkewMs &&
    (Math.min(...offsets) > clockSkewMs || Math.max(...offsets) < -clockSkewMs)
  );
}

function hostClockNote(examined: readonly BackendExamination[], { clockSkewMs }: Deployment): Note {
  const offsets = examined.flatMap(({ clock }) => (clock === undefined ? [] : [clock.offsetMs]));
  const leastMs = Math.min(...offsets.map(Math.abs));
  const direction = (offsets[0] ?? 0) > 0 ? "behind" : "ahead of";
  return {
    level: "problem",
    topic: "clock",
    text: `the clock of this host is at least ${formatMs(leastMs)} ${direction} those of all backends; ${formatMs(clockSkewMs)} is allowed (--clock-skew)`,
    remedy: `set the clock of this host right; ${TIME_REMEDY}`,
  };
}

/** Clocks against each other, which each may be near enough to ours. */
function pairNotes(examined: readonly BackendExamination[], { clockSkewMs }: Deployment): readonly Note[] {
  const clocks = examined.flatMap(({ backend, clock }) =>
    clock === undefined ? [] : [{ backend, ...clock }],
  );
  const [first, ...others] = [...clocks].sort((a, b) => a.offsetMs - b.offsetMs);
  const last = others.at(-1);
  if (first === undefined || last === undefined) return [];
  const apartMs = last.offsetMs - first.offsetMs;
  const text = `the clocks of ${first.backend} and ${last.backend} are ${formatMs(apartMs)} apart`;
  if (apartMs - first.uncertaintyMs - last.uncertaintyMs > clockSkewMs) {
    return [
      {
        level: "problem",
        topic: "clock",
        text: `${text}; ${formatMs(clockSkewMs)} is allowed (--clock-skew)`,
        remedy: TIME_REMEDY,
      },
    ];
  }
  const more = clocks.length > 2 ? ", the others less" : "";
  return [{ level: "good", topic: "clock", text: `${text}${more}`, remedy: undefined }];
}

function twinNotes(examined: readonly BackendExamination[]): readonly Note[] {
  return examined.flatMap(({ backend, sameServerAs }, index): readonly Note[] => {
    const isFirst = !examined.slice(0, index).some((other) => sameServerAs.includes(other.backend));
    if (sameServerAs.length === 0 || !isFirst) return [];
    const text = `${[backend, ...sameServerAs].join(" and ")} are one server: its failure counts ${sameServerAs.length + 1} times`;
    return [{ level: "problem", topic: "twin", text, remedy: "give each backend a server of its own" }];
  });
}

function numberNotes(
  of: {
    readonly n: number;
    readonly votes: number;
    readonly seen: readonly { readonly standing: Standing }[];
  },
  { quorum }: Deployment,
): readonly Note[] {
  const { n, votes, seen } = of;
  const notes: Note[] = [];
  const add = (level: Note["level"], text: string, remedy?: string): void => {
    notes.push({ level, topic: "number", text, remedy });
  };
  const allNew = seen.every(({ standing }) => standing === "new");
  if (allNew) add("good", `${n === 1 ? "it" : "all"} new: nothing was ever locked here`);
  else if (votes < quorum)
    add("problem", `${votes} of ${n} vote, ${quorum} are needed: no lock is granted or extended`);
  else if (votes < n) add("warning", `${votes} of ${n} vote, ${quorum} are needed: ${spare(votes - quorum)}`);
  else
    add("good", `${n === 1 ? "it votes" : `all ${n} vote`}, ${quorum} ${quorum === 1 ? "is" : "are"} needed`);
  if (n < 3) {
    const text = `with ${n === 1 ? "one backend" : "two backends"} the first failure stops all locks`;
    add("warning", text, "use three, or five");
  }
  return notes;
}

function spare(count: number): string {
  return count === 0 ? "the next failure stops all locks" : `${count} more may fail`;
}

function trialNotes(trial: Trial | undefined): readonly Note[] {
  if (trial === undefined) return [];
  const { kept, broken } = trial;
  if (broken.length === 0) {
    const text = `keeps the ${kept} promises of the conformance list that can be tried on a server in use`;
    return [{ level: "good", topic: "trial", text, remedy: undefined }];
  }
  return broken.map(({ promise, what }) => ({
    level: "problem",
    topic: "trial",
    text: `broke a promise: ${promise} (${what})`,
    remedy:
      "look for what changes commands or keys on the way (a proxy, a module, another program); else report it",
  }));
}

const SEVERITY = ["problem", "warning", "good"] as const;

function bySeverity(notes: readonly Note[]): readonly Note[] {
  return SEVERITY.flatMap((level) => notes.filter((note) => note.level === level));
}
