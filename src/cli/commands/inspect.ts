/** `quorum-lock inspect`: who holds a lock. */
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings, readKey } from "../common-options.js";
import { EXIT } from "../exit-codes.js";
import { printJson } from "../json.js";
import { cannotTell, refuseWrongSet, reportJson, reportText } from "../key-report.js";
import { withLocker } from "../open-locker.js";
import { print } from "../terminal.js";

/** Runs it; resolves to the exit code. Throws a `CommandLineError`, after printing what there is, when the state cannot be told. */
export const inspect: Run = command(COMMANDS.inspect, async (given) => {
  const key = readKey(given);
  const settings = readCommonSettings("inspect", given);
  const report = await withLocker(settings, (locker) => locker.inspect(key));
  refuseWrongSet(report);
  if (given.has("json")) printJson(reportJson(report));
  else print(reportText(report));
  if (report.state === "unknown") throw cannotTell(report);
  return EXIT.ok.code;
});
