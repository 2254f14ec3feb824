/**
 * TLS as it is configured, with a certificate of the client too. The certificates were made for a hundred years, by an authority
 * whose key is gone; they are for locks.internal, so that `tls.servername` is needed.
 */
import { chmodSync, chownSync, cpSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, vi } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import type { RunningCli } from "./running-cli.ts";
import { test as plainTest } from "./with-servers.ts";

// The machine may be busy.
vi.setConfig({ testTimeout: 90_000 });

const CERTIFICATES = fileURLToPath(new URL("./certificates", import.meta.url));
const pem = (name: string): string => join(CERTIFICATES, name);

interface Tools {
  /** What speaks TLS, wants the client's certificate, and passes all on to a server that speaks none; its port. */
  tlsBefore: (server: RunningServer) => Promise<number>;
}

const test = plainTest.extend<Tools>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  tlsBefore: async ({}, use) => {
    const open = new Set<Socket>();
    const closers: (() => void)[] = [];
    await use(async (server) => {
      const proxy = createServer(
        {
          key: readFileSync(pem("server.key")),
          cert: readFileSync(pem("server.pem")),
          ca: readFileSync(pem("ca.pem")),
          requestCert: true,
          rejectUnauthorized: true,
          ALPNProtocols: ["h2", "http/1.1"],
        },
        (socket) => {
          const onward = connect(server.port, "127.0.0.1");
          for (const end of [socket, onward]) {
            open.add(end);
            end.on("error", () => undefined);
            end.on("close", () => void (socket.destroy(), onward.destroy()));
          }
          socket.pipe(onward).pipe(socket);
        },
      );
      proxy.on("tlsClientError", () => undefined);
      closers.push(() => proxy.close());
      await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
      return (proxy.address() as AddressInfo).port;
    });
    for (const close of closers) close();
    for (const socket of open) socket.destroy();
  },
});

type Cli = (args: readonly string[], options?: { cwd?: string }) => RunningCli;

const ALL = {
  ca: pem("ca.pem"),
  cert: pem("client.pem"),
  key: pem("client.key"),
  servername: "locks.internal",
};

/** Runs a command under a lock over one backend with these properties of TLS. */
async function lockOver(
  { cli, folder }: { readonly cli: Cli; readonly folder: string },
  url: string,
  tls: Readonly<Record<string, string>>,
): Promise<RunningCli> {
  const lines = Object.entries(tls).map(([name, value]) => `      ${name}: ${value}`);
  const text = `backends:\n  - url: ${url}\n    tls:\n${lines.join("\n")}\n`;
  writeFileSync(join(folder, "quorum-lock.yaml"), text);
  const run = cli(["run", "--key", "k", "--wait", "2s", "--", "echo", "locked"], { cwd: folder });
  await run.exited;
  return run;
}

const PLAIN: readonly (readonly [name: ServerName, scheme: string])[] = [
  ["redis-7", "rediss"],
  ["mongodb", "mongodb"],
  ["etcd-3.5", "etcds"],
  ["consul", "consuls"],
];

for (const [name, scheme] of PLAIN) {
  await describeWithServer(name, `${scheme}: over TLS`, () => {
    test("locks with the right certificates, and with none of them in one line not", async ({
      cli,
      folder,
      started,
      tlsBefore,
    }) => {
      const port = await tlsBefore(await started(name));
      const options = scheme === "mongodb" ? "/?directConnection=true" : "";
      const url = `${scheme}://127.0.0.1:${port}${options}`;
      const right = await lockOver({ cli, folder }, url, ALL);
      expect([right.stdout(), right.stderr()]).toEqual(["locked\n", ""]);
      const { servername, ...nameless } = ALL;
      for (const wrong of [nameless, { servername }, { ca: ALL.ca, servername }]) {
        const run = await lockOver({ cli, folder }, url, wrong);
        expect([await run.exited, run.stdout()]).toEqual([69, ""]);
        // gRPC lets Node warn of an address for a name.
        expect(run.lines()).toHaveLength(1);
      }
    });
  });
}

await describeWithServer("postgres", "postgres: over TLS", () => {
  test("locks with the right authority, and without it in one line not", async ({ cli, folder, started }) => {
    const server = await started("postgres");
    const data = join(server.dir, "data");
    for (const name of ["server.key", "server.pem"]) {
      cpSync(pem(name), join(data, name));
      const { uid, gid } = statSync(data);
      chownSync(join(data, name), uid, gid);
      chmodSync(join(data, name), 0o600);
    }
    writeFileSync(join(data, "pg_hba.conf"), "hostssl all all all trust\n");
    const { default: pg } = await import("pg");
    const admin = new pg.Client(server.url);
    await admin.connect();
    for (const [setting, value] of [
      ["ssl_cert_file", "server.pem"],
      ["ssl_key_file", "server.key"],
      ["ssl", "on"],
    ]) {
      await admin.query(`ALTER SYSTEM SET ${setting} = '${value}'`);
    }
    await admin.query("SELECT pg_reload_conf()");
    await admin.end();
    await expectTls({ cli, folder }, server.url);
  });
});

await describeWithServer("mariadb", "mysql: over TLS", () => {
  test("locks with the right authority, and without it in one line not", async ({ cli, folder, started }) => {
    const args = [
      `--ssl-ca=${pem("ca.pem")}`,
      `--ssl-cert=${pem("server.pem")}`,
      `--ssl-key=${pem("server.key")}`,
      "--require-secure-transport=ON",
    ];
    const server = await started("mariadb", { args });
    await expectTls({ cli, folder }, server.url);
  });
});

async function expectTls(tools: { readonly cli: Cli; readonly folder: string }, url: string): Promise<void> {
  const { ca, servername } = ALL;
  const right = await lockOver(tools, url, { ca, servername });
  expect([right.stdout(), right.stderr()]).toEqual(["locked\n", ""]);
  const wrong = await lockOver(tools, url, { servername });
  expect([await wrong.exited, wrong.stdout()]).toEqual([69, ""]);
  expect(wrong.stderr()).toMatch(/^quorum-lock: [^\n]+\n$/);
  const open = await lockOver(tools, url, { rejectUnauthorized: "false" });
  expect(open.stdout()).toBe("locked\n");
  expect(open.stderr()).toMatch(/^quorum-lock: WARNING: the certificate of [^\n]+ is not verified [^\n]+\n$/);
}
