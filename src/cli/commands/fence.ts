/** `quorum-lock fence`: lifts the counter of a key, so that guards accept its next holder. */
import { MAX_FENCE } from "../../engine/token.js";
import { show } from "../../errors.js";
import { command, type Run } from "../command.js";
import { CommandLineError } from "../command-line-error.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings, readKey } from "../common-options.js";
import { confirm } from "../confirm.js";
import { EXIT } from "../exit-codes.js";
import { keyText } from "../key-text.js";
import { refuseWrongSet } from "../key-report.js";
import { withLocker } from "../open-locker.js";
import { usage, type Arguments } from "../parse-arguments.js";
import { print, wrapped } from "../terminal.js";

/** Tokens are about microseconds since 1970; one further ahead than this is more likely a typing error than a token. */
const AHEAD_MICROS_MAX = 86_400_000_000n;

/** Runs it; resolves to the exit code. */
export const fence: Run = command(COMMANDS.fence, async (given) => {
  const key = readKey(given);
  const token = tokenOf(given);
  const settings = readCommonSettings("fence", given);
  const nowMicros = BigInt(Date.now()) * 1000n;
  return withLocker(settings, async (locker) => {
    refuseWrongSet(await locker.inspect(key));
    if (token > nowMicros + AHEAD_MICROS_MAX) {
      const what =
        `Tokens are about microseconds since 1970, now ${nowMicros}; ${token} is far above, which cannot be undone. ` +
        `Compare it with the "highest" of the StaleTokenError.`;
      await confirm("fence", given, `${wrapped(what)}\nUse it all the same?`);
    }
    const { backends } = await locker.lift(key, token);
    const missed = backends.flatMap((each) => (each.outcome === "fault" ? [each.backend] : []));
    const rest =
      missed.length === 0 ? "" : `; ${missed.join(" and ")} did not answer: repeat it when they do`;
    print(
      wrapped(
        `The next token of ${keyText(key)} will be larger than ${token}: ${backends.length - missed.length} of ` +
          `${backends.length} backends remember it${rest}. Whoever holds the lock now keeps the old token: it has to ` +
          `acquire anew.`,
      ),
    );
    return EXIT.ok.code;
  });
});

function tokenOf(given: Arguments): bigint {
  const text = given.one("at-least");
  if (text === undefined)
    throw usage("fence", "option --at-least is missing: the highest token that was seen");
  const token = /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
  if (token >= 1n && token <= MAX_FENCE) return token;
  throw new CommandLineError(
    EXIT.usage,
    `option --at-least must be a token, a whole number from 1 to ${MAX_FENCE}; got ${show(text)}`,
  );
}
