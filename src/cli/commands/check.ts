/** `quorum-lock check`: a verdict on each backend, in words. */
import type { Deployment } from "../../backend.js";
import { createLocker } from "../../lock/locker.js";
import type { BackendExamination } from "../../lock/examine.js";
import { resolveOptions } from "../../options.js";
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { EXIT } from "../exit-codes.js";
import { printJson, wholeMs } from "../json.js";
import { withBackends, type Prepared } from "../open-locker.js";
import { print, startSpinner } from "../terminal.js";
import { tryBackend, type Trial } from "../trial.js";
import { judge, notesOf, type Note, type Verdict } from "../verdict.js";
import { verdictText } from "../verdict-text.js";

/** Runs it; resolves to the exit code. */
export const check: Run = command(COMMANDS.check, async (given) => {
  const settings = readCommonSettings("check", given);
  const verdict = await withBackends(settings, (prepared) => look(prepared, given.has("read-only")));
  if (given.has("json")) printJson(asJson(verdict));
  else print(verdictText(verdict));
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
