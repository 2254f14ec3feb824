/** `quorum-lock list`: all locks of these backends. */
import { show } from "../../errors.js";
import type { KeyReport } from "../../lock/inspect.js";
import type { ListCoverage, ListedBackend } from "../../lock/list.js";
import { command, type Run } from "../command.js";
import { CommandLineError } from "../command-line-error.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { formatMs } from "../duration.js";
import { EXIT } from "../exit-codes.js";
import { printJson } from "../json.js";
import { keyText } from "../key-text.js";
import { refuseWrongSet, reportJson } from "../key-report.js";
import { withLocker } from "../open-locker.js";
import type { Arguments } from "../parse-arguments.js";
import { canRedraw, coloursOfStdout, print, startSpinner, tell } from "../terminal.js";

const LIMIT_DEFAULT = 1_000;
const LIMIT_MAX = 1_000_000;

interface Found {
  /** By key. */
  readonly reports: readonly KeyReport[];
  readonly coverage: ListCoverage;
}

/** Runs it; resolves to the exit code. */
export const list: Run = command(COMMANDS.list, async (given) => {
  const limit = limitOf(given);
  const prefix = given.positional("PREFIX") ?? "";
  const settings = readCommonSettings("list", given);
  const { reports, coverage } = await withLocker(settings, async (locker): Promise<Found> => {
    const stop = startSpinner("looking through the keys");
    try {
      const listing = locker.list({ prefix, limit });
      const found: KeyReport[] = [];
      for await (const report of listing) found.push(report);
      return { reports: found.toSorted((a, b) => (a.key < b.key ? -1 : 1)), coverage: listing.coverage };
    } finally {
      stop();
    }
  });
  refuseWrongSet({ views: coverage.backends.flatMap(faultOf) });
  if (given.has("json")) printJson(asJson(reports, coverage));
  else printRows(reports);
  if (coverage.cutOff)
    tell(`there are more than ${limit} locks; the rest is left out: use --limit, or a longer PREFIX`);
  if (coverage.complete || coverage.cutOff) return EXIT.ok.code;
  tell(`held locks may be missing: ${coverage.backends.filter(isNotListed).map(whyNot).join("; ")}`);
  return EXIT.unavailable.code;
});

function limitOf(given: Arguments): number {
  const text = given.one("limit");
  if (text === undefined) return LIMIT_DEFAULT;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (limit >= 1 && limit <= LIMIT_MAX) return limit;
  throw new CommandLineError(
    EXIT.usage,
    `option --limit must be a whole number from 1 to ${LIMIT_MAX}; got ${show(text)}`,
  );
}

function printRows(reports: readonly KeyReport[]): void {
  const { dim } = coloursOfStdout();
  if (reports.length === 0) {
    if (canRedraw("stdout")) print(dim("no locks"));
    return;
  }
  const rows = reports.map(rowOf);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  print(rows.map(line).join("\n"));
}

/** Key, state, time left, and what to know of it. */
function rowOf({ key, state, remainingMs, token, ownerHash, views, quorum }: KeyReport): readonly string[] {
  const locked = views.filter(({ kind }) => kind === "locked").length;
  const left = remainingMs === undefined ? "-" : formatMs(remainingMs);
  const on = `on ${locked} of ${views.length}`;
  const what = {
    held: `${on}, owner ${ownerHash}, token ${token ?? "not shown"}`,
    contended: `${on}, by several owners, ${quorum} needed`,
    orphan: `${on}, owner ${ownerHash}, ${quorum} needed`,
    free: "",
    unknown: `seen ${on}, ${quorum} needed, others may have it`,
  }[state];
  return [keyText(key), state, left, what];
}

function isNotListed({ outcome }: ListedBackend): boolean {
  return outcome !== "listed";
}

function whyNot(listed: ListedBackend): string {
  const { backend, outcome } = listed;
  switch (outcome) {
    case "failed":
      return listed.error.message.replace("backend ", "");
    case "quarantined":
      return `${backend}: its memory is new`;
    case "unfinished":
    case "listed":
      return `${backend}: ${outcome}`;
  }
}

function faultOf(listed: ListedBackend): KeyReport["views"] {
  return listed.outcome === "failed" ? [{ kind: "fault", backend: listed.backend, error: listed.error }] : [];
}

function asJson(reports: readonly KeyReport[], { backends, cutOff, complete }: ListCoverage): object {
  return {
    keys: reports.map(reportJson),
    backends: backends.map((listed) => ({
      backend: listed.backend,
      outcome: listed.outcome,
      code: listed.outcome === "failed" ? listed.error.code : null,
      error: listed.outcome === "failed" ? listed.error.message : null,
    })),
    cutOff,
    complete,
  };
}
