// `quorum-lock run` over real servers that work: what the command gets, what comes back, and who is told what.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { startRedises, type RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import {
  backendsOf,
  beatsIn,
  isAlive,
  jobArgv,
  lastBeatMs,
  MAIN,
  monotonicMs,
  test,
  untilAlive,
} from "./running-cli.ts";

const NODE = process.execPath;
/** Prints its arguments and some of its environment as JSON. */
const TELL = [
  NODE,
  "-e",
  "console.log(JSON.stringify([process.argv.slice(1), process.env.QUORUM_LOCK_TOKEN, process.env.QUORUM_LOCK_KEY]))",
];

await describeWithServer("redis-7", "quorum-lock run", (server) => {
  let servers: RunningRedis[] = [];
  let keys = 0;
  beforeAll(async () => {
    servers = await startRedises(3, { server });
  });
  afterAll(() => Promise.all(servers.map((each) => each.stop())));

  /** Another key for each test, so that none sees the locks of another. */
  function on(key = `key ${++keys}`): string[] {
    return ["run", ...backendsOf(servers), "--key", key];
  }

  async function isLocked(key: string): Promise<boolean> {
    const found = await Promise.all(servers.map((each) => each.cli("EXISTS", `{ql:${key}}:l`)));
    return found.some((each) => each !== 0);
  }

  test.concurrent(
    "returns the exit code of the command, prints nothing of its own, and releases the lock",
    async ({ cli }) => {
      const run = cli([...on("code"), "--", "sh", "-c", "exit 7"]);
      expect(await run.exited).toBe(7);
      expect([run.stdout(), run.stderr()]).toEqual(["", ""]);
      expect(await isLocked("code")).toBe(false);
    },
  );

  test.concurrent("returns 128 + n when signal n ended the command", async ({ cli }) => {
    expect(await cli([...on(), "--", "sh", "-c", "kill -KILL $$"]).exited).toBe(137);
    expect(await cli([...on(), "--", "sh", "-c", "kill -TERM $$"]).exited).toBe(143);
  });

  test.concurrent("hands arguments over as they are", async ({ cli }) => {
    const odd = ["a b", "", '"quoted" $HOME `id`', "*", "--flag", "--", "line\nbreak", "ünï"];
    const run = cli([...on("args"), "--", ...TELL, "--", ...odd]);
    expect(await run.exited).toBe(0);
    expect((JSON.parse(run.stdout()) as unknown[])[0]).toEqual(odd);
  });

  test.concurrent("gives the command the token and the key; tokens strictly increase", async ({ cli }) => {
    const tokens: bigint[] = [];
    for (let n = 0; n < 2; n++) {
      const run = cli([...on("a key = with é"), "--", ...TELL]);
      expect(await run.exited).toBe(0);
      const [, token, key] = JSON.parse(run.stdout()) as [string[], string, string];
      expect(key).toBe("a key = with é");
      tokens.push(BigInt(token));
    }
    expect((tokens[1] ?? 0n) > (tokens[0] ?? 0n)).toBe(true);
  });

  test.concurrent("leaves the environment alone, names that are no shell names included", async ({ cli }) => {
    const odd = { "BASH_FUNC_greet%%": "() {  echo hello\n}", "with-dash": "x y", PLAIN: "1" };
    const run = cli([...on(), "--", "bash", "-c", "greet; env | grep -e ^with-dash -e ^PLAIN"], { env: odd });
    expect(await run.exited).toBe(0);
    expect(run.stdout().split("\n").sort()).toEqual(["", "PLAIN=1", "hello", "with-dash=x y"]);
  });

  test.concurrent("passes stdin and stdout through, whole", async ({ cli }) => {
    const much = "0123456789abcdef".repeat(65_536);
    const run = cli([...on(), "--", "cat"], { stdin: much });
    expect(await run.exited).toBe(0);
    expect(run.stdout() === much).toBe(true);
  });

  test.concurrent(
    "says who has it and for how long, and returns 75, when somebody else holds the lock for all of --wait",
    async ({ cli, folder }) => {
      const beats = join(folder, "beats");
      const holder = cli([...on("held"), "--", ...jobArgv(beats)]);
      await untilAlive(beats, 1, holder.stderr);
      const second = cli([...on("held"), "--wait", "2s", "--", "echo", "ran"]);
      expect(await second.exited).toBe(75);
      expect(second.stdout()).toBe("");
      expect(second.stderr()).toMatch(
        /^quorum-lock: lock "held" is held by somebody else for another (2\d(\.\d)?|30)s unless .*--wait.*\n$/,
      );
      holder.signal("SIGTERM");
      expect(await holder.exited).toBe(40);
    },
  );

  test.concurrent(
    "runs one at a time: of four that wait, each sees what the one before has written",
    async ({ cli, folder }) => {
      const file = join(folder, "count");
      const count = `n=$(cat ${file} 2>/dev/null || echo 0); sleep 0.2; echo $((n + 1)) > ${file}`;
      const runs = Array.from({ length: 4 }, () =>
        cli([...on("count"), "--wait", "20s", "--", "sh", "-c", count]),
      );
      expect(await Promise.all(runs.map((run) => run.exited))).toEqual([0, 0, 0, 0]);
      expect(readFileSync(file, "utf8")).toBe("4\n");
    },
  );

  test.concurrent("passes signals on, each once, and goes on", async ({ cli, folder }) => {
    const beats = join(folder, "beats");
    const run = cli([...on("signals"), "--", ...jobArgv(beats, "ignore-term", "exit=5")]);
    await untilAlive(beats, 1, run.stderr);
    const signals = ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGINT", "SIGUSR2"] as const;
    for (const [index, signal] of signals.entries()) {
      run.signal(signal);
      await waitUntil({ what: `${signal} passed on`, timeoutMs: 15_000, detail: run.stdout }, async () => {
        return run.stdout() === signals.slice(0, index + 1).join("\n") + "\n";
      });
    }
    expect(await run.exited).toBe(5);
    // SIGUSR1 starts the debugger of a Node process that does not say otherwise.
    expect(run.stderr()).toBe("");
  });

  test.concurrent("kills the command at the second Ctrl-C", async ({ cli, folder }) => {
    const beats = join(folder, "beats");
    const run = cli([...on("impatient"), "--", ...jobArgv(beats, "ignore-term")]);
    await untilAlive(beats, 1, run.stderr);
    run.signal("SIGINT");
    await waitUntil({ what: "the first Ctrl-C", timeoutMs: 15_000 }, async () => run.stdout() === "SIGINT\n");
    const againMs = monotonicMs();
    run.signal("SIGINT");
    expect(await run.exited).toBe(137);
    expect(monotonicMs() - againMs).toBeLessThan(2_000);
    expect(run.stderr()).toBe("quorum-lock: interrupted again; killing the command\n");
    expect(await isLocked("impatient")).toBe(false);
  });

  test.concurrent("will not be paused by Ctrl-Z, and says why", async ({ cli, folder }) => {
    const beats = join(folder, "beats");
    const run = cli([...on(), "--", ...jobArgv(beats, "for=500")]);
    await untilAlive(beats, 1, run.stderr);
    run.signal("SIGTSTP");
    expect(await run.exited).toBe(0);
    expect(run.stderr()).toMatch(/^quorum-lock: cannot be paused, since the lock would be lost meanwhile/);
  });

  test.concurrent(
    "ends what the command has left running, before it releases the lock",
    async ({ cli, folder }) => {
      const beats = join(folder, "beats");
      const first = cli([
        ...on("leftovers"),
        "--ttl",
        "5s",
        "--kill-grace",
        "300ms",
        "--",
        ...jobArgv(beats, "grandchild", "for=600", "exit=3"),
      ]);
      await untilAlive(beats, 2, first.stderr);
      const second = cli([
        ...on("leftovers"),
        "--wait",
        "20s",
        "--",
        NODE,
        "-p",
        "Number(process.hrtime.bigint()) / 1e6",
      ]);
      expect(await first.exited).toBe(3);
      expect(first.stderr()).toMatch(
        /^quorum-lock: the command has ended, but processes that it started have not;.*\n$/,
      );
      expect(await second.exited).toBe(0);
      const [grandchild] = beatsIn(beats).slice(-1);
      expect(grandchild?.pid).not.toBe(beatsIn(beats)[0]?.pid);
      const apartMs = Number(second.stdout()) - lastBeatMs(beats);
      console.log(
        `the next holder's command started ${apartMs.toFixed(0)} ms after the last sign of life of a leftover`,
      );
      expect(apartMs).toBeGreaterThan(0);
    },
  );

  test.concurrent(
    "lets what the command has left running end by itself when that is quick",
    async ({ cli }) => {
      const run = cli([...on(), "--", "bash", "-c", "exec > >(sleep 0.1; tr a-z A-Z); echo last words"]);
      expect(await run.exited).toBe(0);
      expect([run.stdout(), run.stderr()]).toEqual(["LAST WORDS\n", ""]);
    },
  );

  test.concurrent(
    "is interrupted at once while it waits, with 130 or 143, and leaves nothing on the backends",
    async ({ cli, folder }) => {
      const beats = join(folder, "beats");
      const holder = cli([...on("waited for"), "--", ...jobArgv(beats)]);
      await untilAlive(beats, 1, holder.stderr);
      for (const [signal, code] of [
        ["SIGINT", 130],
        ["SIGTERM", 143],
      ] as const) {
        const run = cli([...on("waited for"), "--wait", "1m", "--log-level", "info", "--", "echo", "ran"]);
        await waitUntil(
          { what: "a watcher", timeoutMs: 15_000, detail: run.stderr },
          async () => run.watcherPid() > 0,
        );
        const watcher = run.watcherPid();
        const askedMs = monotonicMs();
        run.signal(signal);
        expect(await run.exited).toBe(code);
        expect(monotonicMs() - askedMs).toBeLessThan(1_500);
        expect([run.stdout(), run.stderr()]).toEqual(["", ""]);
        expect(() => process.kill(watcher, 0)).toThrow("ESRCH");
      }
      holder.signal("SIGTERM");
      expect(await holder.exited).toBe(40);
      expect(await isLocked("waited for")).toBe(false);
    },
  );

  test.concurrent(
    "leaves nothing on the backends when it is interrupted in the middle of an attempt",
    async ({ cli, redises }) => {
      // One of three backends grants, and is asked to release, again and again, since the other two are nobody.
      const [only] = await redises(1, { server });
      const backends = [
        "--backend",
        only?.url ?? "",
        "--backend",
        "redis://127.0.0.1:1",
        "--backend",
        "redis://127.0.0.1:2",
      ];
      for (const pauseMs of [0, 3, 7, 12]) {
        const run = cli([
          "run",
          ...backends,
          "--restart-guard",
          "off",
          "--key",
          "k",
          "--wait",
          "1m",
          "--",
          "true",
        ]);
        await waitUntil({ what: "a grant", timeoutMs: 15_000, detail: run.stderr }, async () => {
          return (await only?.cli("EXISTS", "{ql:k}:f")) === 1;
        });
        const until = monotonicMs() + pauseMs;
        await waitUntil({ what: "another moment", timeoutMs: 15_000 }, async () => monotonicMs() >= until);
        run.signal("SIGINT");
        expect(await run.exited).toBe(130);
        expect(await only?.cli("EXISTS", "{ql:k}:l")).toBe(0);
        await only?.cli("DEL", "{ql:k}:f");
      }
    },
  );

  test.concurrent(
    "starts nothing when it is killed before the watcher knows the command",
    async ({ cli, folder }) => {
      // The gate alone, opened by nobody: what is left when quorum-lock dies in between.
      const ran = join(folder, "ran");
      const half = join(folder, "half.mjs");
      writeFileSync(
        half,
        `import { startGated } from ${JSON.stringify(MAIN.replace("main.js", "gate.js"))};
       const { pid } = await startGated({ name: "touch", args: [${JSON.stringify(ran)}], env: {} });
       console.log(pid);
       process.kill(process.pid, "SIGKILL");`,
      );
      const killed = cli([], { main: half });
      expect(await killed.exited).toBe(-1);
      const gate = Number(killed.stdout());
      expect(gate).toBeGreaterThan(0);
      await waitUntil({ what: "the gate gone", timeoutMs: 15_000 }, async () => !isAlive(gate));
      expect(existsSync(ran)).toBe(false);
    },
  );
});
