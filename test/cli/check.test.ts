// `quorum-lock check` on real servers that were made unfit: a stranger learns it from the words alone.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, vi } from "vitest";
import { TRIAL_PREFIX } from "../../src/cli/trial.ts";
import { startWithClock, whyNoFakedClock } from "../servers/faked-clock.ts";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, startRedises, startReplica, type RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { expectDocumented } from "./matches-fields.ts";
import { backendsOf, MAIN, test, type RunningCli } from "./running-cli.ts";

// The machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

interface Printed {
  readonly backends: readonly {
    readonly backend: string;
    readonly standing: string;
    readonly clockOffsetMs: number | null;
    readonly notes: readonly PrintedNote[];
  }[];
  readonly together: readonly PrintedNote[];
}

interface PrintedNote {
  readonly level: string;
  readonly topic: string;
  readonly text: string;
  readonly remedy: string | null;
}

const SECRET = "s3cret";
const LEAST = "~{ql:* ~ql:mark +evalsha +eval +info +get +set +del +pttl +pexpire +time";
const aclOf = (rights: string): readonly string[] => [
  "user default off",
  `user locks on >${SECRET} ${rights}`,
];

await describeWithServer("redis-7", "quorum-lock check", (server) => {
  let good: RunningRedis[] = [];
  let fresh: RunningRedis[] = [];
  let evicting: RunningRedis;
  let replica: RunningRedis;
  let started: RunningRedis[] = [];

  beforeAll(async () => {
    good = await startRedises(3, { server });
    fresh = await startRedises(2, { server });
    evicting = await startRedis({
      server,
      args: ["--maxmemory-policy", "allkeys-lru", "--maxmemory", "10mb"],
    });
    replica = await startReplica(good[0] as RunningRedis);
    // Afterwards: the first replica of a server begins a new memory.
    execFileSync(process.execPath, [MAIN, "init", ...backendsOf(good)], { timeout: 30_000 });
    started = [...good, ...fresh, evicting, replica];
  });
  afterAll(() => Promise.all(started.map((each) => each.stop())));

  const url = (redis: RunningRedis, name: string, host = "127.0.0.1"): string[] => [
    "--backend",
    `redis://${host}:${redis.port}?name=${name}`,
  ];

  /** The lines on one backend, or those under another heading. */
  function section(run: RunningCli, heading: string): string {
    const [, text = ""] = new RegExp(`(?:^|\n)${heading}[^\n]*\n((?:  .*\n)*)`).exec(run.stdout()) ?? [];
    return `${new RegExp(`(?:^|\n)(${heading}[^\n]*)\n`).exec(run.stdout())?.[1] ?? ""} ${text}`.replace(
      /\s+/g,
      " ",
    );
  }

  test("tells that one backend evicts keys, one is a replica and two are one server, without being told what to look for", async ({
    cli,
  }) => {
    const [a] = fresh;
    if (a === undefined) throw new Error("no server");
    const run = cli([
      "check",
      ...url(a, "one"),
      ...url(evicting, "evicting"),
      ...url(replica, "copy"),
      ...url(a, "again", "localhost"),
    ]);
    expect([await run.exited, run.stderr()]).toEqual([1, ""]);
    expect(section(run, "evicting:")).toMatch(
      /problem eviction maxmemory-policy allkeys-lru evicts locks and counters under memory pressure/,
    );
    expect(section(run, "copy:")).toMatch(
      new RegExp(`problem role replica of 127.0.0.1:${good[0]?.port}, which refuses writes and has no vote`),
    );
    expect(section(run, "All together")).toMatch(
      /problem twin one and again are one server: its failure counts 2 times/,
    );
    expect(section(run, "again:")).toMatch(/counted already/);
    expect(section(run, "What to do")).toMatch(
      /evicting: CONFIG SET maxmemory-policy noeviction.* copy: name an independent primary.* all: give each backend a server of its own/,
    );
    expect(section(run, "one:")).not.toMatch(/problem/);
    expect(run.stdout()).toMatch(/\n\d problems, \d warnings?\.\n$/);
  });

  test("writes no mark on servers that nobody used yet, so that a check with other options does no harm", async ({
    cli,
  }) => {
    const one = cli(["check", ...url(fresh[0] as RunningRedis, "one")]);
    expect(await one.exited).toBe(0);
    expect(section(one, "one:")).toMatch(/new: never used/);
    expect(await fresh[0]?.cli("DBSIZE")).toBe(0);
    expect(await cli(["check", ...backendsOf(fresh)]).exited).toBe(0);
    expect(await fresh[0]?.cli("DBSIZE")).toBe(0);
  });

  test("calls servers new as long as nobody used them, though somebody looked at a key", async ({
    cli,
    redises,
  }) => {
    const backends = backendsOf(await redises(2, { server }));
    expect(await cli(["inspect", "k", ...backends]).exited).toBe(69);
    const run = cli(["check", ...backends]);
    expect(await run.exited).toBe(0);
    expect(run.stdout()).toMatch(/new: not in service yet/);
    expect(section(run, "All together")).toMatch(/good all new: nothing was ever locked here/);
    const strict = cli(["check", "--restart-guard", "strict", ...backends]);
    expect(await strict.exited).toBe(0);
    expect(section(strict, "What to do")).toMatch(/each: run quorum-lock init with these options, once/);
  });

  test("finds nothing to mend on three good servers, and leaves them as they were", async ({ cli }) => {
    const backends = backendsOf(good);
    expect(await cli(["run", ...backends, "--key", "before", "--", "true"]).exited).toBe(0);
    const [first] = good;
    const before = [await first?.cli("GET", "ql:mark"), await first?.cli("GET", "{ql:before}:f")];
    const run = cli(["check", ...backends]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    for (const { port } of good) {
      expect(section(run, `127.0.0.1:${port}:`)).toMatch(
        /: Redis 7\.\S+, votes, answers in \S+ .*in service, votes; primary; evicts nothing; .*keeps the \d\d promises of the conformance list/,
      );
    }
    expect(section(run, "All together")).toMatch(
      /good all 3 vote, 2 are needed; the clocks of .* are \d+ms apart/,
    );
    expect([await first?.cli("GET", "ql:mark"), await first?.cli("GET", "{ql:before}:f")]).toEqual(before);
    for (const redis of good) {
      const keys = ((await redis.cli("KEYS", "*")) as string[]).filter(
        (key) => key !== "ql:mark" && !key.includes("before"),
      );
      for (const key of keys) {
        expect(key.startsWith(`{ql:${TRIAL_PREFIX}`), key).toBe(true);
        const leftMs = Number(await redis.cli("PTTL", key));
        // The longest TTL, and a quarter of a minute.
        expect(leftMs !== -1 && leftMs <= 75_000, `${key} ends in ${leftMs} ms`).toBe(true);
      }
    }
  });

  test("stores nothing with --read-only", async ({ cli }) => {
    const changes = async (): Promise<string | undefined> =>
      /rdb_changes_since_last_save:(\d+)/.exec(String(await good[1]?.cli("INFO", "persistence")))?.[1];
    const changed = await changes();
    const run = cli(["check", "--read-only", ...backendsOf(good)]);
    expect(await run.exited).toBe(0);
    expect(run.stdout()).not.toMatch(/promises/);
    expect(await changes()).toBe(changed);
  });

  test("prints what is documented with --json, and the same exit code", async ({ cli }) => {
    const run = cli([
      "check",
      "--json",
      "--read-only",
      ...url(evicting, "e"),
      ...url(replica, "r"),
      "--backend",
      `redis://127.0.0.1:${await freePort()}?name=dead`,
    ]);
    expect([await run.exited, run.stderr()]).toEqual([1, ""]);
    const printed = JSON.parse(run.stdout()) as Printed;
    expectDocumented("check", printed);
    expect(printed.backends.map(({ backend, standing }) => [backend, standing])).toEqual([
      ["e", "new"],
      ["r", "refused"],
      ["dead", "unreachable"],
    ]);
    expect(printed.backends[0]?.notes[0]).toMatchObject({ level: "problem", topic: "eviction" });
  });

  test("tells a dead server from a wrong password and from one that does not answer, and what to do about each", async ({
    cli,
    redises,
  }) => {
    const [locked, frozen] = [
      ...(await redises(1, { server, password: "right" })),
      ...(await redises(1, { server })),
    ];
    await frozen?.freeze();
    const dead = await freePort();
    const run = cli([
      "check",
      "--backend",
      `redis://:wr%40ng@127.0.0.1:${locked?.port}?name=locked`,
      "--backend",
      `redis://127.0.0.1:${dead}?name=dead`,
      "--backend",
      `redis://127.0.0.1:${frozen?.port}?name=frozen`,
    ]);
    expect([await run.exited, run.stderr()]).toEqual([1, ""]);
    await frozen?.thaw();
    expect(section(run, "locked:")).toMatch(
      /cannot be used.*problem service it refuses the user name or password/,
    );
    expect(section(run, "dead:")).toMatch(
      /does not answer problem answer not connected: connect ECONNREFUSED/,
    );
    expect(section(run, "frozen:")).toMatch(/does not answer problem answer/);
    expect(section(run, "All together")).toMatch(
      /problem number 0 of 3 vote, 2 are needed: no lock is granted/,
    );
    expect(section(run, "What to do")).toMatch(/locked: check user and password in its URL/);
    expect(run.stdout()).not.toMatch(/wr(%40|@)ng/);
  });

  test("says what rights the user of a server has too few or too many of, and prints the least rule", async ({
    cli,
  }) => {
    const acl = await Promise.all(
      [LEAST, LEAST.replace("+pttl ", ""), `${LEAST} +flushall`, LEAST.replace("+info ", "")].map((rights) =>
        startRedis({ server, aclLines: aclOf(rights) }),
      ),
    );
    try {
      const run = cli([
        "check",
        ...acl.flatMap(({ port }, i) => [
          "--backend",
          `redis://locks:${SECRET}@127.0.0.1:${port}?name=${["least", "less", "more", "blind"][i]}`,
        ]),
      ]);
      expect([await run.exited, run.stderr()]).toEqual([1, ""]);
      expect(section(run, "least:")).toMatch(
        /good .*user locks may do what a lock needs, not more; list needs \+scan; .*; waiters are not called when a lock is free/,
      );
      expect(section(run, "least:")).not.toMatch(/problem|warning/);
      expect(section(run, "less:")).toMatch(
        /problem access user locks may not run what the lock needs on its keys: pttl/,
      );
      expect(section(run, "more:")).toMatch(
        /warning access user locks may do more than a lock needs: flushall/,
      );
      expect(section(run, "blind:")).toMatch(/problem access user locks may not run .*: info/);
      expect(section(run, "What to do")).toContain(`ACL SETUSER locks on >PASSWORD ${LEAST}`);
    } finally {
      await Promise.all(acl.map((each) => each.stop()));
    }
  });

  test("believes no durability that the server does not have", async ({ cli, redises }) => {
    const [lazy] = await redises(1, { server, appendOnly: "everysec" });
    const run = cli(["check", "--backend", `${lazy?.url}?name=lazy&durable=true`]);
    expect(await run.exited).toBe(1);
    expect(section(run, "lazy:")).toMatch(
      /problem durability is said to be durable, but appendfsync is everysec/,
    );
  });

  test("tells figures that are not those of the other programs", async ({ cli }) => {
    const run = cli(["check", ...backendsOf(good.slice(0, 1))]);
    expect(await run.exited).toBe(1);
    expect(section(run, `127.0.0.1:${good[0]?.port}:`)).toMatch(
      /problem service its mark was written by clients with 3 backends, quorum 2/,
    );
    expect(section(run, "What to do")).toMatch(/give check the options that your programs have/);
  });

  test("says that a server does not vote after a restart, and for how long", async ({ cli, redises }) => {
    const servers = await redises(3, { server });
    expect(await cli(["run", ...backendsOf(servers), "--key", "k", "--", "true"]).exited).toBe(0);
    await servers[2]?.restart({ empty: true });
    const missing = cli(["check", "--read-only", ...backendsOf(servers)]);
    expect(await missing.exited).toBe(0);
    expect(section(missing, `127.0.0.1:${servers[2]?.port}:`)).toMatch(
      /warning service has no mark, while others are in use/,
    );
    await cli(["run", ...backendsOf(servers), "--key", "k", "--", "true"]).exited;
    await waitUntil(
      { what: "a mark", timeoutMs: 5_000 },
      async () => (await servers[2]?.cli("EXISTS", "ql:mark")) === 1,
    );
    const run = cli(["check", "--read-only", ...backendsOf(servers)]);
    expect(await run.exited).toBe(0);
    expect(section(run, `127.0.0.1:${servers[2]?.port}:`)).toMatch(
      /does not vote yet.*warning service does not vote for another 1m\ds: its memory is new/,
    );
    expect(section(run, "All together")).toMatch(
      /warning number 2 of 3 vote, 2 are needed: the next failure stops all locks/,
    );
  });
});

const why = await whyNoFakedClock();
if (why !== undefined) console.warn(`skipped: ${why}`);
describe.skipIf(why !== undefined)("quorum-lock check with wrong clocks", () => {
  test("finds the one clock that is 3 s off, and says by how much", async ({
    cli,
    redises,
    onTestFinished,
  }) => {
    const servers = await redises(2, { server: "redis-7" });
    const late = await startWithClock(-3_000);
    onTestFinished(() => late.stop());
    const run = cli(["check", "--json", ...backendsOf([...servers, late])]);
    expect([await run.exited, run.stderr()]).toEqual([1, ""]);
    const { backends, together } = JSON.parse(run.stdout()) as Printed;
    const offsets = backends.map(({ clockOffsetMs }) => clockOffsetMs ?? Number.NaN);
    console.log(`clocks are ahead of this host by ${offsets.join(", ")} ms`);
    expect(Math.abs((offsets[2] ?? 0) + 3_000)).toBeLessThan(250);
    const problems = backends.map(({ notes }) => notes.filter(({ level }) => level === "problem"));
    expect(problems.slice(0, 2)).toEqual([[], []]);
    expect(problems[2]).toMatchObject([
      { topic: "clock", remedy: expect.stringContaining("chrony") as string },
    ]);
    expect(problems[2]?.[0]?.text).toMatch(
      /its clock is (2\.[89]\d*|3|3\.[012]\d*)s behind this host's; 1s is allowed \(--clock-skew\)/,
    );
    expect(together.filter(({ level }) => level === "problem").map(({ text }) => text)).toEqual([
      expect.stringMatching(/the clocks of .* are \S+s apart; 1s is allowed/),
    ]);
  });

  test("blames this host when all servers agree that its clock is 3 s off", async ({
    cli,
    onTestFinished,
  }) => {
    const servers = await Promise.all([3_000, 3_000, 3_000].map((offsetMs) => startWithClock(offsetMs)));
    onTestFinished(async () => void (await Promise.all(servers.map((each) => each.stop()))));
    // In use, since a wrong clock must not break the trial locks.
    expect(await cli(["run", ...backendsOf(servers), "--key", "k", "--", "true"]).exited).toBe(0);
    const run = cli(["check", ...backendsOf(servers)]);
    expect(await run.exited).toBe(1);
    expect(run.stdout().replace(/\s+/g, " ")).toMatch(
      /All together problem clock the clock of this host is at least (2\.[89]\d*|3)s behind those of all backends.*What to do .*set the clock of this host right/,
    );
    expect(run.stdout()).toMatch(/\n1 problem, /);
  });
});
