/** Backends from URLs. The clients are optional packages, loaded when a URL asks for them. */
import type { Backend } from "../backend.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";
import type { BackendAddress } from "./parse-url.js";

/** Backends with the clients that were opened for them. */
export interface OpenBackends {
  readonly backends: readonly Backend[];
  /** After the locker was closed. */
  close(): void;
}

/** Makes a client and a backend for each address. Connects nothing yet. Throws a {@link CommandLineError}. */
export async function openBackends(addresses: readonly BackendAddress[]): Promise<OpenBackends> {
  const { redis } = await import("../adapters/redis.js");
  const { Redis } = await import("ioredis").catch((error: unknown) => {
    throw missing(error, { name: "ioredis", what: "redis:// backends need" });
  });
  // Never connected: the adapter makes its own duplicates of clients that have no settings for locks.
  const clients = addresses.map(({ connection }) => new Redis({ ...connection, lazyConnect: true }));
  return {
    backends: clients.map((client, index) => redis(client, addresses[index]?.backend)),
    close(): void {
      for (const client of clients) client.disconnect();
    },
  };
}

/** The error to throw when an optional package could not be loaded. */
export function missing(error: unknown, wanted: { readonly name: string; readonly what: string }): unknown {
  if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") return error;
  const { name, what } = wanted;
  return new CommandLineError(
    EXIT.usage,
    `${what} the package ${name}, which is not installed: npm install ${name} ` +
      `(with npx: npx -p quorum-lock -p ${name} quorum-lock …)`,
    { cause: error },
  );
}
