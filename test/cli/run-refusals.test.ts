// `quorum-lock run` that cannot have the lock: each time one line that says why and what to do, an exit code, and nothing run.
import { cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { backendsOf, jobArgv, MAIN, test, untilAlive, type RunningCli } from "./running-cli.ts";

await describeWithServer("redis-7", "quorum-lock run that is refused", (server) => {
  test.concurrent("names each dead server and its cause, with 69", async ({ cli, redises }) => {
    const servers = await redises(5, { server });
    const dead = servers.slice(1, 4);
    await Promise.all(dead.map((each) => each.kill()));
    const run = cli(["run", ...backendsOf(servers), "--key", "k", "--wait", "2s", "--", "echo", "ran"]);
    const line = await refusal(run, 69);
    expect(line).toMatch(/no quorum of backends answered for lock "k"/);
    for (const { port } of dead)
      expect(line).toContain(`127.0.0.1:${port} failed (not connected: connect ECONNREFUSED`);
    expect(line).toMatch(/check that these servers run/);
  });

  test.concurrent("says that the password is wrong, without showing it", async ({ cli, redises }) => {
    const [redis] = await redises(1, { server, password: "right" });
    const url = `redis://:wr%40ng@127.0.0.1:${redis?.port}`;
    const run = cli(["run", "--backend", url, "--key", "k", "--wait", "0", "--", "echo", "ran"]);
    const line = await refusal(run, 69);
    expect(line).toMatch(/refuses the user name or password.*check user and password in their URLs/);
    expect(line).not.toMatch(/wr(%40|@)ng/);
    const right = cli(["run", "--backend", `${redis?.url}?name=only`, "--key", "k", "--", "true"]);
    expect([await right.exited, right.stderr()]).toEqual([0, ""]);
  });

  test.concurrent("does not wait for a wrong password to become right", async ({ cli, redises }) => {
    const servers = [...(await redises(2, { server, password: "right" })), ...(await redises(1, { server }))];
    const urls = servers.map(({ port }, i) =>
      i < 2 ? `redis://:wrong@127.0.0.1:${port}` : `redis://127.0.0.1:${port}`,
    );
    const backends = urls.flatMap((url) => ["--backend", url]);
    const startedMs = performance.now();
    const run = cli(["run", ...backends, "--key", "k", "--wait", "1m", "--", "echo", "ran"]);
    const line = await refusal(run, 69);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    for (const { port } of servers.slice(0, 2))
      expect(line).toContain(`127.0.0.1:${port} failed (it refuses the user name`);
    expect(line).toMatch(/check user and password in their URLs$/);
  });

  test.concurrent("says for how long and why servers are in quarantine", async ({ cli, redises }) => {
    const servers = await redises(3, { server });
    const backends = backendsOf(servers);
    const run = cli([
      "run",
      ...backends,
      "--restart-guard",
      "strict",
      "--key",
      "k",
      "--wait",
      "0",
      "--",
      "echo",
      "ran",
    ]);
    const line = await refusal(run, 69);
    expect(line).toMatch(
      /cannot be granted for another 6[12]\.\d s: backends that restarted without their memory/,
    );
    expect(line).toMatch(/it passes by itself: try again then, or use --wait 1m\d+s$/);
  });

  test.concurrent(
    "explains that all users of a server must give the same figures",
    async ({ cli, redises }) => {
      const servers = await redises(3, { server });
      expect(await cli(["run", ...backendsOf(servers), "--key", "k", "--", "true"]).exited).toBe(0);
      const run = cli(["run", ...backendsOf(servers.slice(0, 1)), "--key", "k", "--", "echo", "ran"]);
      expect(await refusal(run, 64)).toMatch(
        /3 backends, quorum 2.*configured with 1 backend.*see --backend .*--quorum, --max-ttl and --restart-guard$/,
      );
    },
  );

  test.concurrent("refuses one server under two names", async ({ cli, redises }) => {
    const [redis] = await redises(1, { server });
    const twice = [
      `${redis?.url}?name=a`,
      `redis://localhost:${redis?.port}?name=b`,
      `${redis?.url}/1?name=c`,
    ];
    const run = cli([
      "run",
      ...twice.flatMap((url) => ["--backend", url]),
      "--key",
      "k",
      "--",
      "echo",
      "ran",
    ]);
    expect(await refusal(run, 64)).toMatch(/one and the same server.*give each backend its own server/);
  });

  test.concurrent("speaks through a unix socket", async ({ cli, redises, folder }) => {
    const socket = join(folder, "redis.sock");
    await redises(1, { server, args: ["--unixsocket", socket] });
    const run = cli([
      "run",
      "--backend",
      `redis+unix://${socket}?name=sock`,
      "--key",
      "k",
      "--",
      "echo",
      "ran",
    ]);
    expect([await run.exited, run.stdout(), run.stderr()]).toEqual([0, "ran\n", ""]);
  });

  test.concurrent(
    "returns 75 also when two of five servers are dead and the other three say held",
    async ({ cli, redises, folder }) => {
      const servers = await redises(5, { server });
      const beats = join(folder, "beats");
      const holder = cli(["run", ...backendsOf(servers), "--key", "k", "--", ...jobArgv(beats)]);
      await untilAlive(beats, 1, holder.stderr);
      await Promise.all(servers.slice(0, 2).map((each) => each.kill()));
      const run = cli(["run", ...backendsOf(servers), "--key", "k", "--wait", "2s", "--", "echo", "ran"]);
      expect(await refusal(run, 75)).toMatch(/held by somebody else/);
      holder.signal("SIGTERM");
      expect(await holder.exited).toBe(40);
    },
  );
});

test.concurrent(
  "does not run without an answer: servers that nobody can reach are 69 after --wait",
  async ({ cli }) => {
    const run = cli([
      "run",
      "--backend",
      `redis://127.0.0.1:${await freePort()}`,
      "--key",
      "k",
      "--wait",
      "0",
      "--",
      "echo",
      "ran",
    ]);
    expect(await refusal(run, 69)).toMatch(/ECONNREFUSED/);
  },
);

test.concurrent("says what to install when ioredis or pino is missing", async ({ cli, folder }) => {
  const alone = join(folder, "node_modules", "quorum-lock");
  mkdirSync(alone, { recursive: true });
  cpSync(dirname(dirname(MAIN)), join(alone, "dist"), { recursive: true });
  cpSync(join(dirname(dirname(dirname(MAIN))), "package.json"), join(alone, "package.json"));
  const main = join(alone, "dist", "cli", "main.js");
  const run = cli(["run", "--backend", "redis://127.0.0.1:1", "--key", "k", "--", "true"], { main });
  expect(await refusal(run, 64)).toMatch(
    /redis:\/\/ backends need the package ioredis, .* npm install ioredis/,
  );
  const logging = cli(
    ["run", "--backend", "redis://127.0.0.1:1", "--log-level", "info", "--key", "k", "--", "true"],
    { main },
  );
  expect(await refusal(logging, 64)).toMatch(/--log-level needs the package pino, .* npm install pino/);
  // Neither of them is needed to watch the demonstration.
  expect(await cli(["demo", "--fast"], { main }).exited).toBe(0);
});

/** The one line of a run that was refused. */
async function refusal(run: RunningCli, code: number): Promise<string> {
  expect(`${await run.exited} ${run.stderr()}`).toMatch(new RegExp(`^${code} quorum-lock: [^\n]+\n$`));
  expect(run.stdout()).toBe("");
  return run.stderr().trimEnd();
}
