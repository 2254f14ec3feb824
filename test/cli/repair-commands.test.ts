// release, fence, init and quarantine, and all of them on a set of servers that does not fit, on real servers.
import { expect, vi } from "vitest";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { useDeployment } from "./deployment.ts";
import { backendsOf, test } from "./running-cli.ts";

// The machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

await describeWithServer("redis-7", "release, fence, init and quarantine", (server) => {
  const { servers, backends, hold, leave } = useDeployment(server);

  test("release --force takes the lock away, says what it does not stop, and the holder ends at its next extension", async ({
    cli,
  }) => {
    const holder = await hold(cli, "stuck", "2s");
    const run = cli(["release", "stuck", "--force", "--yes", ...backends]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    expect(run.stdout().replace(/\s+/g, " ")).toMatch(
      /stuck is held: .* stuck is released by force, 3 of 3 backends confirm\. The old holder may go on until its next extension is refused; guards refuse its writes once a newer holder has written\. $/,
    );
    expect(await holder.exited).toBe(76);
    expect(holder.stderr()).toMatch(/lock "stuck" was taken away/);
    const again = cli(["release", "stuck", "--force", ...backends]);
    expect([await again.exited, again.stdout(), again.stderr()]).toEqual([
      0,
      "stuck is free: there is nothing to release\n",
      "",
    ]);
  });

  test("release without --yes changes nothing where nobody can be asked", async ({ cli }) => {
    await leave("kept", [0, 1, 2]);
    const run = cli(["release", "kept", "--force", ...backends], { stdin: "y\n" });
    expect(await run.exited).toBe(64);
    expect(run.stderr()).toMatch(
      /^quorum-lock: release asks first, and there is no terminal to ask on: add --yes to go ahead \(see quorum-lock release --help\)\n$/,
    );
    expect(await servers[0]?.cli("EXISTS", "{ql:kept}:l")).toBe(1);
  });

  test("fence makes the next token larger, never lowers one, and asks before one from the far future", async ({
    cli,
  }) => {
    const now = BigInt(Date.now()) * 1000n;
    const ahead = now + 3_600_000_000n;
    const run = cli(["fence", "fenced", "--at-least", ahead.toString(), ...backends]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    expect(run.stdout().replace(/\s+/g, " ")).toMatch(
      new RegExp(`^The next token of fenced will be larger than ${ahead}: 3 of 3 backends remember it\\.`),
    );
    const token = async (): Promise<bigint> => {
      const next = cli(["run", ...backends, "--key", "fenced", "--", "sh", "-c", "echo $QUORUM_LOCK_TOKEN"]);
      expect([await next.exited, next.stderr()]).toEqual([0, ""]);
      return BigInt(next.stdout());
    };
    expect(await token()).toBe(ahead + 1n);
    expect(await cli(["fence", "fenced", "--at-least", "5", ...backends]).exited).toBe(0);
    expect(await token()).toBe(ahead + 2n);
    const far = ["fence", "fenced", "--at-least", (now + 100_000_000_000n).toString(), ...backends];
    const asked = cli(far);
    expect(await asked.exited).toBe(64);
    expect(asked.stderr()).toMatch(/fence asks first, and there is no terminal to ask on/);
    expect(await token()).toBe(ahead + 3n);
    expect(await cli([...far, "--yes"]).exited).toBe(0);
    expect(await token()).toBe(now + 100_000_000_001n);
  });

  test("a set of servers is refused as a whole when the options do not fit it", async ({ cli }) => {
    await cli(["run", ...backends, "--key", "k", "--", "true"]).exited;
    const two = backends.slice(0, 4);
    for (const args of [
      ["inspect", "k"],
      ["list"],
      ["watch", "k"],
      ["release", "k", "--force", "--yes"],
      ["fence", "k", "--at-least", "1"],
      ["init", "--yes"],
      ["quarantine", "a", "--yes"],
    ]) {
      const run = cli([...args, ...two]);
      expect([args[0], await run.exited]).toEqual([args[0], 64]);
      expect(run.stderr()).toMatch(
        /^quorum-lock: [^\n]*mark was written by clients with 3 backends, quorum 2[^\n]*see --backend[^\n]*\n$/,
      );
    }
    const twin = cli([
      "inspect",
      "k",
      "--backend",
      `redis://localhost:${servers[0]?.port}?name=x`,
      ...backends.slice(0, 4),
    ]);
    expect(await twin.exited).toBe(64);
    expect(twin.stderr()).toMatch(
      /backends x and a are one and the same server.*give each backend its own server\n$/,
    );
  });

  test("dead servers are named, and what can still be told is told", async ({ cli }) => {
    const dead = ["--backend", `redis://127.0.0.1:${await freePort()}?name=dead`];
    await leave("half", [0, 1, 2]);
    const one = cli(["inspect", "half", ...backends.slice(0, 4), ...dead]);
    expect([await one.exited, one.stderr()]).toEqual([0, ""]);
    expect(one.stdout()).toMatch(
      /^half is held.*\n.*\n {2}a {5}the holder's.*\n {2}b {5}the holder's.*\n {2}dead {2}failed: not connected: connect ECONNREFUSED/,
    );
    const others = ["--backend", `redis://127.0.0.1:${await freePort()}?name=gone`];
    const three = [...backends.slice(0, 2), ...dead, ...others];
    const expected =
      /dead: not connected.*gone: not connected.*check that these servers run and that their URLs name them\n$/;
    const inspect = cli(["inspect", "half", ...three]);
    expect(await inspect.exited).toBe(69);
    expect(inspect.stdout()).toMatch(
      /^half is unknown: 2 of 3 backends failed, a lock was seen on 1; somebody may hold\nit\n/,
    );
    expect(inspect.stderr()).toMatch(expected);
    const list = cli(["list", "half", ...three]);
    expect(await list.exited).toBe(69);
    expect(list.stderr()).toMatch(
      /^quorum-lock: held locks may be missing: dead: not connected[^\n]*; gone: not connected[^\n]*\n$/,
    );
    for (const args of [
      ["release", "half", "--force", "--yes"],
      ["fence", "half", "--at-least", "1"],
    ]) {
      const run = cli([...args, ...three]);
      expect(await run.exited).toBe(69);
      expect(run.stderr()).toMatch(
        /^quorum-lock: no quorum of backends answered[^\n]*check that these servers run[^\n]*\n$/,
      );
    }
    const init = cli(["init", ...three]);
    expect(await init.exited).toBe(69);
    expect(init.stderr()).toMatch(
      /^quorum-lock: all backends must answer before any is put into service; backend dead: not connected[^\n]*\n$/,
    );
    const gone = cli(["quarantine", "dead", "--yes", ...three]);
    expect(await gone.exited).toBe(69);
    expect(gone.stderr()).toMatch(
      /^quorum-lock: backend dead: not connected[^\n]*check that these servers run[^\n]*\n$/,
    );
  });

  test("init starts new servers under strict, which run names when it is refused, and asks where they were in use", async ({
    cli,
    redises,
  }) => {
    const fresh = [...backendsOf(await redises(3, { server })), "--restart-guard", "strict"];
    const run = ["run", ...fresh, "--key", "k", "--wait", "0", "--", "true"];
    const refused = cli(run);
    expect(await refused.exited).toBe(69);
    expect(refused.stderr()).toMatch(
      /if this is the first start of these backends, run quorum-lock init with the same options, once/,
    );
    const init = cli(["init", ...fresh]);
    expect([await init.exited, init.stderr()]).toEqual([0, ""]);
    expect(init.stdout()).toMatch(/^in service: 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+,\s127\.0\.0\.1:\d+\n$/);
    expect(await cli(run).exited).toBe(0);
    const nothing = cli(["init", ...fresh]);
    expect([await nothing.exited, nothing.stdout()]).toEqual([
      0,
      "nothing to do: all 3 backends are in service\n",
    ]);
    const name = /in service: (\S+),/.exec(init.stdout())?.[1] ?? "";
    expect(await cli(["quarantine", name, "--yes", ...fresh]).exited).toBe(0);
    const asked = cli(["init", ...fresh]);
    expect(await asked.exited).toBe(64);
    expect(asked.stderr()).toMatch(/init asks first/);
    const sure = cli(["init", "--yes", ...fresh]);
    expect([await sure.exited, sure.stdout()]).toEqual([0, `in service: ${name}\n`]);
  });

  test("quarantine keeps one server from voting, and says what that leaves", async ({ cli, redises }) => {
    const three = (await redises(3, { server })).flatMap(({ url }, i) => [
      "--backend",
      `${url}?name=${"xyz"[i]}`,
    ]);
    expect(await cli(["run", ...three, "--key", "k", "--", "true"]).exited).toBe(0);
    const run = cli(["quarantine", "y", "--yes", ...three]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    expect(run.stdout().replace(/\s+/g, " ")).toMatch(
      /^y does not vote for another \S+; then it does, by itself\./,
    );
    const inspect = cli(["inspect", "k", ...three]);
    expect(await inspect.exited).toBe(0);
    expect(inspect.stdout()).toMatch(
      /\n {2}y {2}free, does not vote for another \S+ \(its memory is new\)\n/,
    );
    expect(await cli(["run", ...three, "--key", "k", "--wait", "0", "--", "true"]).exited).toBe(0);
    const unknown = cli(["quarantine", "yy", "--yes", ...three]);
    expect(await unknown.exited).toBe(64);
    expect(unknown.stderr()).toMatch(
      /^quorum-lock: BACKEND must be the name of one of the backends: x, y, z; got "yy"[^\n]*\n$/,
    );
    const off = cli(["quarantine", "x", "--yes", "--restart-guard", "off", ...three]);
    expect(await off.exited).toBe(64);
    expect(off.stderr()).toMatch(/^quorum-lock: option --restart-guard must not be off[^\n]*\n$/);
  });
});
