/** `quorum-lock init`: the first start of a deployment under `--restart-guard strict`. */
import { SameBackendError } from "../../errors.js";
import type { BackendExamination } from "../../lock/examine.js";
import { command, type Run } from "../command.js";
import { CommandLineError } from "../command-line-error.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { confirm } from "../confirm.js";
import { EXIT } from "../exit-codes.js";
import { explain } from "../explain.js";
import { withLocker } from "../open-locker.js";
import { print, wrapped } from "../terminal.js";

/** Runs it; resolves to the exit code. */
export const init: Run = command(COMMANDS.init, async (given) => {
  const settings = readCommonSettings("init", given);
  return withLocker(settings, async (locker) => {
    const examined = await locker.examine();
    refuseUnfit(examined);
    const waiting = examined.filter(isQuarantined);
    const used = examined.filter(
      (each) => each.status !== undefined && (!isQuarantined(each) || isJoined(each)),
    );
    if (waiting.length === 0 && examined.every(({ status }) => status !== undefined)) {
      print(`nothing to do: all ${examined.length} backends are in service`);
      return EXIT.ok.code;
    }
    if (used.length > 0) {
      const question =
        `${used.map(({ backend }) => backend).join(", ")} ${used.length === 1 ? "was" : "were"} in use before, so this is no ` +
        `first start. To go on ends a quarantine: if any program holds a lock now, a second one may get it. Stop all ` +
        `programs that use these backends first, or let the quarantine pass by itself.`;
      await confirm("init", given, `${wrapped(question)}\nPut all backends into service at once?`);
    }
    const started = await locker.bootstrap();
    print(wrapped(`in service: ${started.join(", ")}`));
    return EXIT.ok.code;
  });
});

/** All must answer: a backend that is missing could remember what the others have forgotten. */
function refuseUnfit(examined: readonly BackendExamination[]): void {
  for (const { backend, sameServerAs, status, examination } of examined) {
    const [twin] = sameServerAs;
    if (twin !== undefined) throw new SameBackendError([backend, twin], "one and the same server");
    const fault = status?.kind === "fault" ? status : examination.kind === "fault" ? examination : undefined;
    if (fault === undefined) continue;
    const { line, exitCode } = explain(fault.error);
    throw new CommandLineError(exitCode, `all backends must answer before any is put into service; ${line}`);
  }
}

function isQuarantined({ status }: BackendExamination): boolean {
  return status?.kind === "reply" && status.reply.kind === "quarantined";
}

function isJoined({ status }: BackendExamination): boolean {
  return status?.kind === "reply" && status.reply.kind === "quarantined" && status.reply.joined;
}
