/** The one place where the common options become a locker over open backends. */
import type { Backend } from "../backend.js";
import { createLocker, type Locker } from "../lock/locker.js";
import type { LockerOptions } from "../options.js";
import type { CommonSettings } from "./common-options.js";
import { createLogger } from "./logger.js";
import { openBackends } from "./open-backends.js";

/** Backends and what a locker over them is made from; nothing is connected yet. */
export interface Prepared {
  readonly backends: readonly Backend[];
  readonly options: LockerOptions;
}

/** Opens the backends for as long as `use` takes. Throws a `CommandLineError`, or what `use` throws. */
export async function withBackends<T>(
  settings: CommonSettings,
  use: (prepared: Prepared) => Promise<T>,
): Promise<T> {
  const logger = await createLogger(settings.logLevel);
  const { backends, close } = await openBackends(settings.addresses);
  const { quorum, maxTtlMs, clockSkewMs, restartGuard } = settings;
  try {
    return await use({
      backends,
      options: {
        backends,
        maxTtlMs,
        clockSkewMs,
        restartGuard,
        ...(quorum === undefined ? {} : { quorum }),
        ...(logger === undefined ? {} : { logger }),
      },
    });
  } finally {
    close();
  }
}

/** A locker for as long as `use` takes. Throws a `CommandLineError`, an error of the locker, or what `use` throws. */
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
