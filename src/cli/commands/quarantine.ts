/** `quorum-lock quarantine`: keeps a backend that was restored from a backup from voting. */
import { majority } from "../../engine/quorum.js";
import { show } from "../../errors.js";
import { command, type Run } from "../command.js";
import { CommandLineError } from "../command-line-error.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { confirm } from "../confirm.js";
import { formatMs } from "../duration.js";
import { EXIT } from "../exit-codes.js";
import { withBackends } from "../open-locker.js";
import { createLocker } from "../../lock/locker.js";
import { nearest, usage } from "../parse-arguments.js";
import { print, wrapped } from "../terminal.js";

/** Runs it; resolves to the exit code. */
export const quarantine: Run = command(COMMANDS.quarantine, async (given) => {
  const name = given.positional("BACKEND") ?? "";
  const settings = readCommonSettings("quarantine", given);
  if (settings.config.options.restartGuard === "off") {
    const why =
      "it says that servers never forget, and then none is kept from voting; give what your programs give";
    throw usage("quarantine", `option --restart-guard must not be off: ${why}`);
  }
  return withBackends(settings, async ({ backends, options }) => {
    refuseUnknown(
      name,
      backends.map((each) => each.name),
    );
    const locker = createLocker(options);
    try {
      const examined = await locker.examine();
      const others = examined.filter(
        ({ backend, status }) =>
          backend !== name && status?.kind === "reply" && status.reply.kind === "in-service",
      );
      const quorum = options.quorum ?? majority(backends.length);
      const rest = `${others.length} of ${backends.length} backends vote, ${quorum} are needed`;
      const effect =
        others.length < quorum
          ? `${rest}: nobody gets a lock meanwhile, and locks that are extended may be lost`
          : `${rest}: locks go on`;
      await confirm(
        "quarantine",
        given,
        `${wrapped(`Without ${name} ${effect}.`)}\nKeep ${name} from voting?`,
      );
      const { remainingMs } = await locker.quarantine(name);
      print(
        wrapped(
          `${name} does not vote for another ${formatMs(remainingMs)}; then it does, by itself. Locks that it has may be ` +
            `extended meanwhile.`,
        ),
      );
      return EXIT.ok.code;
    } finally {
      await locker.close();
    }
  });
});

function refuseUnknown(name: string, known: readonly string[]): void {
  if (known.includes(name)) return;
  const near = nearest(name, known);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  throw new CommandLineError(
    EXIT.usage,
    `BACKEND must be the name of one of the backends: ${known.join(", ")}; got ${show(name)}${hint}`,
  );
}
