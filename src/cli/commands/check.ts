/** `quorum-lock check`: a verdict on each backend, in words. */
import type { Deployment } from "../../backend.js";
import { createLocker } from "../../lock/locker.js";
import type { BackendExamination } from "../../lock/examine.js";
import { resolveOptions } from "../../options.js";
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { formatMs } from "../duration.js";
import { EXIT } from "../exit-codes.js";
import { printJson, wholeMs } from "../json.js";
import { withBackends, type Prepared } from "../open-locker.js";
import { coloursOfStdout, print, startSpinner, wrapped } from "../terminal.js";
import { tryBackend, type Trial } from "../trial.js";
import { judge, notesOf, type BackendVerdict, type Note, type Standing, type Verdict } from "../verdict.js";

/** Runs it; resolves to the exit code. */
export const check: Run = command(COMMANDS.check, async (given) => {
  const settings = readCommonSettings("check", given);
  const verdict = await withBackends(settings, (prepared) => look(prepared, given.has("read-only")));
  if (given.has("json")) printJson(asJson(verdict));
  else print(asText(verdict));
  const bad = notesOf(verdict).some(({ note }) => note.level === "problem");
  return bad ? EXIT.problem.code : EXIT.ok.code;
});

async function look({ options, backends }: Prepared, readOnly: boolean): Promise<Verdict> {
  const { deployment } = resolveOptions(options);
  const stop = startSpinner(`looking at ${backends.length} servers`);
  const locker = createLocker(options);
  try {
    const examined = await locker.examine();
    const trials = readOnly
      ? new Map<string, Trial>()
      : await tryAll(examined, deployment, { options, backends });
    return judge(examined, deployment, trials);
  } finally {
    stop();
    await locker.close();
  }
}

/** Those that vote are tried; the others would refuse, and are not put into service for it. */
async function tryAll(
  examined: readonly BackendExamination[],
  deployment: Deployment,
  { backends }: Prepared,
): Promise<ReadonlyMap<string, Trial>> {
  const trials = new Map<string, Trial>();
  await Promise.all(
    examined.map(async ({ backend: name, status, latencyMs = 0, clock }) => {
      const backend = backends.find((each) => each.name === name);
      if (backend === undefined || status?.kind !== "reply" || status.reply.kind !== "in-service") return;
      const offsetMs = clock?.offsetMs ?? 0;
      trials.set(name, await tryBackend({ backend, deployment, offsetMs, latencyMs }));
    }),
  );
  return trials;
}

const COLUMN = 22;
const LABELS: Readonly<Record<Standing, string>> = {
  votes: "votes",
  quarantined: "does not vote yet",
  new: "new",
  refused: "cannot be used",
  unreachable: "does not answer",
  twin: "counted already",
};

function asText(verdict: Verdict): string {
  const { bold } = coloursOfStdout();
  return [
    ...verdict.backends.flatMap((each) => [bold(titleOf(each)), ...noteLines(each.notes), ""]),
    bold("All together"),
    ...noteLines(verdict.together),
    "",
    ...todoText(verdict),
    bold(summary(verdict)),
  ].join("\n");
}

function titleOf({ backend, server, standing, latencyMs }: BackendVerdict): string {
  const parts = [
    server,
    LABELS[standing],
    latencyMs === undefined ? undefined : `answers in ${formatLatency(latencyMs)}`,
  ];
  return `${backend}: ${parts.filter((part) => part !== undefined).join(", ")}`;
}

function formatLatency(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)}ms` : formatMs(ms);
}

/** What is bad on lines of its own, what is good together. */
function noteLines(notes: readonly Note[]): readonly string[] {
  const { good } = coloursOfStdout();
  const fine = notes.filter(({ level }) => level === "good").map(({ text }) => text);
  return [
    ...notes.filter(({ level }) => level !== "good").map(badText),
    ...(fine.length === 0 ? [] : [labelled("  good", fine.join("; ")).replace("good", good("good"))]),
  ];
}

function badText({ level, topic, text }: Note): string {
  const { doubtful, bad } = coloursOfStdout();
  const paint = level === "problem" ? bad : doubtful;
  return labelled(`  ${level.padEnd(8)} ${topic}`, text).replace(level, paint(level));
}

function labelled(label: string, text: string): string {
  return label.padEnd(COLUMN) + wrapped(text, " ".repeat(COLUMN)).slice(COLUMN);
}

/** Each remedy once, with all that it is for; not broken into lines, so that a command in it can be copied. */
function todoText(verdict: Verdict): readonly string[] {
  const remedies = new Map<string, string[]>();
  for (const { about, note } of notesOf(verdict)) {
    if (note.remedy === undefined) continue;
    const abouts = remedies.get(note.remedy) ?? [];
    remedies.set(note.remedy, abouts.includes(about) ? abouts : [...abouts, about]);
  }
  if (remedies.size === 0) return [];
  const { bold } = coloursOfStdout();
  const lines = [...remedies].map(
    ([remedy, abouts]) =>
      `  ${abouts.length > 1 && abouts.length === verdict.backends.length ? "each" : abouts.join(", ")}: ${remedy}`,
  );
  return [bold("What to do"), ...lines, ""];
}

function summary(verdict: Verdict): string {
  const count = (level: Note["level"]): number =>
    notesOf(verdict).filter(({ note }) => note.level === level).length;
  const [problems, warnings] = [count("problem"), count("warning")];
  if (problems + warnings === 0) return "All is well.";
  const text = `${plural(problems, "problem")}, ${plural(warnings, "warning")}.`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function plural(count: number, word: string): string {
  return `${count === 0 ? "no" : count} ${word}${count === 1 ? "" : "s"}`;
}

function asJson({ backends, together, votes, quorum }: Verdict): object {
  const note = ({ level, topic, text, remedy }: Note): object => ({
    level,
    topic,
    text,
    remedy: remedy ?? null,
  });
  return {
    backends: backends.map(({ backend, server, standing, latencyMs, clockOffsetMs, notes }) => ({
      backend,
      server: server ?? null,
      standing,
      latencyMs: latencyMs === undefined ? null : Math.round(latencyMs * 1000) / 1000,
      clockOffsetMs: wholeMs(clockOffsetMs),
      notes: notes.map(note),
    })),
    together: together.map(note),
    votes,
    quorum,
  };
}
