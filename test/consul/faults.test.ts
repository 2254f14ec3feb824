/** What goes wrong between a locker and a real Consul: each is a coded error that names backend and cause, in time. */
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { closeSync, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "vitest";
import { consul } from "../../src/adapters/consul.js";
import type { BackendSession } from "../../src/backend.js";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  figure,
  grant,
  putInService,
  timed,
} from "../redis/kit.ts";
import { resolveServer } from "../../scripts/servers.mjs";
import { freePort } from "../servers/free-port.ts";
import { signal, startGuarded } from "../servers/guarded-process.mjs";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { ask, backendOn, test } from "./kit.ts";

const REQUEST_TIMEOUT_MS = 1_000;
const RECOVERY_MS = 1_000;
const MASTER = "11111111-2222-3333-4444-555555555555";
/** Who says nothing is the master, so that the harness can ask whether it is ready. */
const ACL = `acl { enabled = true default_policy = "deny" tokens { master = "${MASTER}" default = "${MASTER}" } }`;

async function recovers(what: string, session: BackendSession): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
  figure(`Consul: recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

await describeWithServer("consul", "what Consul refuses", () => {
  test("a token that it does not know, and one without rights; then the least that is needed", async ({
    consulServer,
    session,
  }) => {
    const server = await consulServer({ hcl: ACL });
    await eventually("its rules are in force", 10_000, async () => {
      const { status } = await ask(server, "GET", "/v1/acl/tokens", { token: MASTER });
      return status === 200;
    });
    const unknown = session(backendOn(server, { token: "99999999-2222-3333-4444-555555555555" }));
    const error = await expectFault(
      acquire(unknown, "k"),
      "BACKEND_AUTH",
      /refuses the token.*ACL not found/,
    );
    expect(error.effect).toBe("none");
    expect(JSON.stringify(error)).not.toContain("99999999");
    const powerless = await tokenFor(server, 'key_prefix "elsewhere/" { policy = "write" }');
    const none = session(backendOn(server, { token: powerless }));
    const denied = await expectFault(
      acquire(none, "k"),
      "BACKEND_NO_PERMISSION",
      /access rules.*Permission denied/,
    );
    expect(denied.effect).toBe("none");

    // The rule of docs/adapters/consul.md for another prefix, which leaves the server without a name.
    const least = await tokenFor(server, 'key_prefix "locks/" { policy = "write" }');
    const narrow = session(backendOn(server, { token: least, prefix: "locks" }));
    await putInService(narrow);
    await grant(narrow, "k");
    await acquire(narrow, "k", { owner: BOB });
    expect(await narrow.list({ prefix: "", cursor: undefined, pageSize: 9 })).toMatchObject({ keys: ["k"] });
    const status = await narrow.status();
    expect(status.identity.serverId, "known by its mark only").toBe(status.identity.incarnation);
    const { findings } = await narrow.examine();
    expect(findings).toContainEqual(expect.objectContaining({ level: "warning", topic: "version" }));

    const withName = await tokenFor(
      server,
      'key_prefix "quorum-lock/" { policy = "write" } agent_prefix "" { policy = "read" }',
    );
    const wide = session(backendOn(server, { token: withName }));
    await putInService(wide);
    const known = await wide.status();
    expect(known.identity.serverId).not.toBe(known.identity.incarnation);
    const examined = await wide.examine();
    expect(examined.server).toMatch(/^Consul 1\./);
    expect(examined.findings.map(({ level }) => level)).toEqual(examined.findings.map(() => "good"));
  });

  test("no leader: said as it is", async ({ consulServer, session, after }) => {
    const server = await consulServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    await loseMajority({ server, hcl: 'performance { rpc_hold_timeout = "100ms" }' }, after);
    await eventually(
      "it has noticed",
      10_000,
      async () => (await ask(server, "GET", "/v1/status/leader")).text === '""',
    );
    const error = await expectFault(
      acquire(opened, "k"),
      "BACKEND_LOADING",
      /it has no leader.*No cluster leader/,
    );
    expect(error.effect).toBe("none");
    const { findings } = await opened.examine();
    expect(findings).toContainEqual(expect.objectContaining({ level: "problem", topic: "role" }));
  });
});

/** Makes it one of two servers of which the other never was. */
async function loseMajority(
  { server, hcl }: { readonly server: RunningServer; readonly hcl: string },
  after: (close: () => unknown) => void,
): Promise<void> {
  const data = join(server.dir, "data");
  const id = (await readFile(join(data, "node-id"), "utf8")).trim();
  const [address] = JSON.parse((await ask(server, "GET", "/v1/status/peers")).text) as string[];
  const peers = [
    { id, address, non_voter: false },
    { id: "99999999-9999-9999-9999-999999999999", address: "127.0.0.1:1", non_voter: false },
  ];
  await server.kill();
  await writeFile(join(data, "raft", "peers.json"), JSON.stringify(peers));
  // Not by the harness: it never becomes what that one calls ready.
  const found = await resolveServer("consul");
  if ("missing" in found) throw new Error(found.missing);
  const output = openSync(join(server.dir, "leaderless.log"), "a");
  const args = [...found.args, "agent", `-config-file=${join(server.dir, "server.json")}`, "-hcl", hcl];
  const alone = startGuarded(
    { command: found.command, args, env: found.env },
    { folder: server.dir, output },
  );
  closeSync(output);
  after(async () => {
    signal(alone.pid, "SIGKILL");
    await alone.ended;
  });
}

async function tokenFor(server: { readonly port: number }, rules: string): Promise<string> {
  const body = (fields: object): { body: string; token: string } => ({
    body: JSON.stringify(fields),
    token: MASTER,
  });
  const name = `p${rules.length}`;
  await ask(server, "PUT", "/v1/acl/policy", body({ Name: name, Rules: rules }));
  const { text } = await ask(server, "PUT", "/v1/acl/token", body({ Policies: [{ Name: name }] }));
  return (JSON.parse(text) as { SecretID: string }).SecretID;
}

await describeWithServer("consul", "a Consul that cannot be reached", () => {
  test("nobody listens: refused at once, and found when it comes", async ({ consulServer, session }) => {
    const port = await freePort();
    const opened = session(backendOn({ port }));
    for (const call of [
      () => acquire(opened, "k"),
      () => opened.release("k", ALICE),
      () => opened.status(),
    ]) {
      const { ms, error } = await timed<unknown>(call());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(500);
    }
    await consulServer({ port });
    await recovers("a late start", opened);
  });

  test("a host name that does not exist", async ({ session }) => {
    const opened = session(backendAt("http://no-such-host.invalid:8500"));
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN/);
  });

  test("SIGSTOP: given up in time, works within a second of SIGCONT, and only the one request comes of it", async ({
    consulServer,
    session,
  }) => {
    const server = await consulServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    await grant(opened, "mine");
    await server.freeze();
    const pending = await Promise.all([
      timed(acquire(opened, "k")),
      timed(opened.release("mine", ALICE)),
      timed(opened.status()),
    ]);
    for (const { ms, error } of pending) {
      const fault = checkFault(error, "BACKEND_TIMEOUT", /no answer within 1000 ms.*may still act/);
      expect(fault.effect).toBe("unknown");
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
    }
    await server.thaw();
    await recovers("SIGCONT", opened);
    expect((await opened.inspect("mine")).lock?.owner, "only looks were sent").toBe(ALICE);
    expect((await opened.inspect("k")).lock).toBeUndefined();
  });

  test("kill -9 with requests in flight: each is told; what was acknowledged is there after a restart", async ({
    consulServer,
    session,
  }) => {
    const server = await consulServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    const before = await opened.status();
    const fence = await grant(opened, "kept", { ttlMs: 60_000 });
    await server.freeze();
    const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(opened, `k${i}`)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.kill();
    for (const { error, ms } of await Promise.all(pending)) {
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(DISCONNECTED|TIMEOUT)$/) as unknown,
      });
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
    }
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    await server.restart("kept");
    await recovers("kill -9 and a restart", opened);
    expect(await opened.status()).toEqual(before);
    expect((await opened.inspect("kept")).lock).toMatchObject({ owner: ALICE, fence });
    expect((await acquire(opened, "kept", { owner: BOB })).kind).toBe("held");
  });

  test("a request that is under way when the session is closed is given up, and none comes after it", async ({
    consulServer,
    session,
  }) => {
    const server = await consulServer();
    const opened = session(backendOn(server, { requestTimeoutMs: 20_000 }));
    await putInService(opened);
    await server.freeze();
    const pending = timed(acquire(opened, "k"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await opened.close();
    const { ms, error } = await pending;
    checkFault(error, "BACKEND_DISCONNECTED");
    expect(ms).toBeLessThan(500);
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /closed/);
  });
});

await describeWithServer("consul", "what is no Consul", () => {
  test("it accepts and never says anything: an error in time", async ({ session, after }) => {
    const { port } = await listening(
      createServer(() => undefined),
      after,
    );
    const { ms, error } = await timed(acquire(session(backendOn({ port })), "k"));
    checkFault(error, "BACKEND_TIMEOUT");
    expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
  });

  test("a connection that breaks after the request: effect unknown, and nothing is sent twice", async ({
    session,
    after,
  }) => {
    let requests = 0;
    const other = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => {
        requests++;
        socket.resetAndDestroy();
      });
    });
    const { port } = await listening(other, after);
    const fault = await expectFault(
      acquire(session(backendOn({ port })), "k"),
      "BACKEND_DISCONNECTED",
      /may still act/,
    );
    expect(fault.effect).toBe("unknown");
    expect(requests).toBe(1);
  });

  test.for<{
    readonly what: string;
    readonly listener: RequestListener;
    readonly code: "BACKEND_UNSUPPORTED" | "BACKEND_REFUSED" | "BACKEND_BUSY" | "BACKEND_LOADING";
    readonly words: RegExp;
  }>([
    {
      what: "a page that is not found",
      listener: answering(404, "404 page not found"),
      code: "BACKEND_UNSUPPORTED",
      words: /no Consul/,
    },
    {
      what: "a web page",
      listener: answering(200, "<html>"),
      code: "BACKEND_REFUSED",
      words: /no Consul answers/,
    },
    {
      what: "a redirection, which would send a token elsewhere",
      listener: answering(301, ""),
      code: "BACKEND_REFUSED",
      words: /status 301/,
    },
    {
      what: "an answer without Date",
      listener: answering(200, '{"Results":[]}', false),
      code: "BACKEND_UNSUPPORTED",
      words: /no Date header/,
    },
    {
      what: "too many requests",
      listener: answering(429, "rate limit"),
      code: "BACKEND_BUSY",
      words: /no more requests/,
    },
    {
      what: "a lost leader",
      listener: answering(500, "leadership lost while committing log"),
      code: "BACKEND_REFUSED",
      words: /leadership lost/,
    },
  ])("$what is a coded error", async ({ listener, code, words }, { session, after }) => {
    const { port } = await listening(createHttpServer(listener), after);
    await expectFault(acquire(session(backendOn({ port })), "k"), code, words);
  });
});

function answering(status: number, text: string, date = true): RequestListener {
  return (_, response) => {
    response.sendDate = date;
    response.writeHead(status, status === 301 ? { location: "http://127.0.0.1:1/" } : {}).end(text);
  };
}

async function listening(
  server: ReturnType<typeof createServer>,
  after: (close: () => unknown) => void,
): Promise<{ readonly port: number }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  return { port: (server.address() as AddressInfo).port };
}

function backendAt(address: string): ReturnType<typeof backendOn> {
  return consul(address);
}
