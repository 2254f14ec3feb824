/** The one place where the common options become a locker over open backends. */
import type { Backend } from "../backend.js";
import { embeddedBackend } from "../config/embedded.js";
import type { BackendSettings } from "../config/kind.js";
import { openBackends } from "../config/open.js";
import type { Config } from "../config/read-config.js";
import { createLocker, type Locker } from "../lock/locker.js";
import type { LockerOptions } from "../options.js";
import type { CommonSettings } from "./common-options.js";
import { createLogger } from "./logger.js";
import { tell } from "./terminal.js";

/** Backends and what a locker over them is made from; nothing is connected yet. */
export interface Prepared {
  readonly backends: readonly Backend[];
  readonly options: LockerOptions;
}

/** Opens the backends for as long as `use` takes. Throws a `ConfigError`, or what `use` throws. */
export async function withBackends<T>(
  settings: CommonSettings,
  use: (prepared: Prepared) => Promise<T>,
): Promise<T> {
  const logger = await createLogger(settings.logLevel);
  for (const warning of settings.config.warnings) tell(warning);
  const { backends, close } = await openBackends(backendsOf(settings.config));
  try {
    return await use({
      backends,
      options: {
        ...settings.config.options,
        backends,
        ...(logger === undefined ? {} : { logger }),
      },
    });
  } finally {
    await close();
  }
}

/** A locker for as long as `use` takes. Throws a `ConfigError`, an error of the locker, or what `use` throws. */
export function withLocker<T>(settings: CommonSettings, use: (locker: Locker) => Promise<T>): Promise<T> {
  return withBackends(settings, async ({ options }) => {
    const locker = createLocker(options);
    try {
      return await use(locker);
    } finally {
      await locker.close();
    }
  });
}

/** Those that are configured; where there are none, a file of this host, and a word about it. */
function backendsOf({ backends }: Config): readonly BackendSettings[] {
  if (backends.length > 0) return backends;
  const embedded = embeddedBackend(process.env);
  tell(
    `no backend is configured, so this lock is one between processes of this user on this host (${embedded.path ?? ""}); ` +
      `--backend names servers, --require-quorum refuses this`,
  );
  return [embedded];
}
