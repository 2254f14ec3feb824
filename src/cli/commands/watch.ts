/** `quorum-lock watch`: the votes of all backends for one key, as they change. */
import type { BackendView, KeyReport } from "../../lock/inspect.js";
import type { Locker } from "../../lock/locker.js";
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings, readDurationMs, readKey } from "../common-options.js";
import { signalExitCode } from "../exit-codes.js";
import { printJsonLine } from "../json.js";
import { keyText } from "../key-text.js";
import { refuseWrongSet, reportJson, stateText, viewLines } from "../key-report.js";
import { withLocker } from "../open-locker.js";
import { ENDING_SIGNALS } from "../signals.js";
import { canRedraw, createScreen, print, wrapped } from "../terminal.js";

const EVERY_MS_DEFAULT = 500;
const EVERY_RANGE = { minMs: 100, maxMs: 3_600_000 };

/** Runs it until a signal comes; resolves to the exit code. */
export const watch: Run = command(COMMANDS.watch, async (given) => {
  const key = readKey(given);
  const everyMs = readDurationMs(given, "every", EVERY_RANGE) ?? EVERY_MS_DEFAULT;
  const settings = readCommonSettings("watch", given);
  const draw = given.has("json") ? onChange(jsonLine) : canRedraw("stdout") ? redraw() : onChange(textLine);
  return withLocker(settings, (locker) => follow(locker, { key, everyMs, draw }));
});

interface Following {
  readonly key: string;
  readonly everyMs: number;
  readonly draw: (report: KeyReport) => void;
}

async function follow(locker: Locker, { key, everyMs, draw }: Following): Promise<number> {
  const { ended, signal } = untilSignal();
  let stopped: NodeJS.Signals | undefined;
  void signal.then((name) => (stopped = name));
  while (stopped === undefined) {
    const report = await Promise.race([locker.inspect(key), signal]);
    if (typeof report === "string") break;
    refuseWrongSet(report);
    draw(report);
    await ended(everyMs);
  }
  return signalExitCode(await signal);
}

/** The first signal that ends it, and waits that it cuts short. */
function untilSignal(): {
  readonly signal: Promise<NodeJS.Signals>;
  readonly ended: (withinMs: number) => Promise<void>;
} {
  let wake: () => void = () => undefined;
  const signal = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ENDING_SIGNALS) {
      process.once(name, () => {
        resolve(name);
        wake();
      });
    }
  });
  const ended = (withinMs: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  return { signal, ended };
}

function redraw(): (report: KeyReport) => void {
  const screen = createScreen();
  return (report) => {
    const lines = [...wrapped(stateText(report)).split("\n"), ...viewLines(report)];
    screen.draw([...lines, `${new Date().toTimeString().slice(0, 8)}, Ctrl-C ends it`]);
  };
}

/** Prints a report when it differs from the one before in more than the time that is left. */
function onChange(line: (report: KeyReport, at: string) => void): (report: KeyReport) => void {
  let before = "";
  return (report) => {
    const now = JSON.stringify([
      report.state,
      report.ownerHash,
      report.token?.toString(),
      report.views.map(essence),
    ]);
    if (now !== before) line(report, new Date().toISOString());
    before = now;
  };
}

function essence(view: BackendView): readonly unknown[] {
  switch (view.kind) {
    case "locked":
      return [view.role, view.ownerHash, view.fence.toString(), view.quarantinedMs !== undefined];
    case "free":
      return [view.kind, view.quarantinedMs !== undefined];
    case "fault":
      return [view.error.code];
  }
}

function textLine(report: KeyReport, at: string): void {
  const { state, ownerHash, token, views } = report;
  const owner = ownerHash === undefined ? "" : ` owner ${ownerHash}`;
  const which = token === undefined ? "" : ` token ${token}`;
  print(`${at} ${keyText(report.key)} ${state}${owner}${which}: ${views.map(shortText).join(", ")}`);
}

function shortText(view: BackendView): string {
  const quarantine = view.kind !== "fault" && view.quarantinedMs !== undefined ? " (does not vote)" : "";
  if (view.kind === "fault") return `${view.backend} ${view.error.code}`;
  if (view.kind === "free") return `${view.backend} free${quarantine}`;
  return `${view.backend} ${view.role} ${view.ownerHash}${quarantine}`;
}

function jsonLine(report: KeyReport, at: string): void {
  printJsonLine({ at, ...reportJson(report) });
}
