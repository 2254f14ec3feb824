/** `quorum-lock release --force`: takes a lock away from whoever holds it. */
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings, readKey } from "../common-options.js";
import { confirm } from "../confirm.js";
import { EXIT } from "../exit-codes.js";
import { keyText } from "../key-text.js";
import { refuseWrongSet, reportText } from "../key-report.js";
import { withLocker } from "../open-locker.js";
import { usage } from "../parse-arguments.js";
import { print, wrapped } from "../terminal.js";

const WARNING =
  "This does not stop the holder: it goes on until its next extension is refused. Without a guard at the resource end " +
  "its process first.";

/** Runs it; resolves to the exit code. */
export const release: Run = command(COMMANDS.release, async (given) => {
  const key = readKey(given);
  if (!given.has("force"))
    throw usage("release", "option --force is missing: only the holder itself can release without force");
  const settings = readCommonSettings("release", given);
  return withLocker(settings, async (locker) => {
    const before = await locker.inspect(key);
    refuseWrongSet(before);
    if (before.state === "free") {
      print(`${keyText(key)} is free: there is nothing to release`);
      return EXIT.ok.code;
    }
    print(reportText(before));
    await confirm("release", given, `${wrapped(WARNING)}\nRelease it by force?`);
    const { backends } = await locker.forceRelease(key);
    const missed = backends.flatMap((each) => (each.outcome === "fault" ? [each.backend] : []));
    const confirmed = `${backends.length - missed.length} of ${backends.length} backends confirm`;
    const rest =
      missed.length === 0
        ? ""
        : `; ${missed.join(" and ")} did not answer: what is there ends by itself with its TTL`;
    const after = `The old holder may go on until its next extension is refused; guards refuse its writes once a newer holder has written.`;
    print(wrapped(`${keyText(key)} is released by force, ${confirmed}${rest}. ${after}`));
    return EXIT.ok.code;
  });
});
