// A memcached that rather refuses than evicts.
import { startKind, type RunningServer } from "./running-server.ts";
import { probeTimeoutMs, type StartOptions } from "./start-options.ts";
import { textCall } from "./text-call.ts";

export type MemcachedName = "memcached-1.6.18" | "memcached-1.6.38";

export async function startMemcached(
  server: MemcachedName,
  options: StartOptions = {},
): Promise<RunningServer> {
  const { running } = await startKind({
    server,
    port: options.port,
    keepsData: false,
    portTaken: /Address already in use/,
    url: ({ port }) => `memcached://127.0.0.1:${port}`,
    args: ({ port }) => [
      "--listen=127.0.0.1",
      `--port=${port}`,
      "--udp-port=0",
      "--memory-limit=64",
      // An item that was confirmed is not given up for another.
      "--disable-evictions",
      // It takes root only when told so.
      ...(process.getuid?.() === 0 ? ["--user=root"] : []),
      ...(options.args ?? []),
    ],
    env: () => options.env ?? {},
    wipe: async () => undefined,
    answers: async ({ port, found }, body) => {
      const stats = await textCall({ port, timeoutMs: probeTimeoutMs, end: "END\r\n" }, "stats\r\n");
      // In a container it has a number of its own.
      return found.origin === "docker" ? stats !== "" : stats.includes(`STAT pid ${body.pid}\r\n`);
    },
  });
  return running;
}
