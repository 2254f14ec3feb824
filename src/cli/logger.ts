/** The log of the command line: pino, JSON on stderr, only when asked for. */
import { loadPackage } from "../config/packages.js";
import type { Logger } from "../options.js";
import { CommandLineError } from "./command-line-error.js";
import { LOG_LEVELS } from "./command-table.js";
import { EXIT } from "./exit-codes.js";
import { show } from "../errors.js";

const STDERR = 2;

/** A logger of that level; undefined without a level. Throws a {@link CommandLineError}. */
export async function createLogger(level: string | undefined): Promise<Logger | undefined> {
  if (level === undefined) return undefined;
  if (!LOG_LEVELS.includes(level)) {
    throw new CommandLineError(
      EXIT.usage,
      `option --log-level must be one of ${LOG_LEVELS.join(", ")}; got ${show(level)}`,
    );
  }
  const { pino } = await loadPackage("pino", "option --log-level needs", () => import("pino"));
  // Synchronous, so that the last lines before an end are not lost.
  const logger: Logger = pino(
    { level, base: { pid: process.pid } },
    pino.destination({ dest: STDERR, sync: true }),
  );
  return logger;
}
