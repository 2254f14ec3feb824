/** The verdict of `check` as a terminal shows it. */
import { formatMs } from "./duration.js";
import { coloursOfStdout, wrapped } from "./terminal.js";
import { notesOf, type BackendVerdict, type Note, type Standing, type Verdict } from "./verdict.js";

const COLUMN = 22;
const LABELS: Readonly<Record<Standing, string>> = {
  votes: "votes",
  quarantined: "does not vote yet",
  new: "new",
  refused: "cannot be used",
  unreachable: "does not answer",
  twin: "counted already",
};

/** All of it, for people. */
export function verdictText(verdict: Verdict): string {
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
  const lines = [...remedies].map(([remedy, abouts]) => `  ${whomText(abouts, verdict)}: ${remedy}`);
  return [bold("What to do"), ...lines, ""];
}

function whomText(abouts: readonly string[], { backends }: Verdict): string {
  const named = abouts.filter((about) => about !== "all");
  if (named.length === 0) return "all";
  return named.length > 1 && named.length === backends.length ? "each" : named.join(", ");
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
