/** Hand-over between two operating system processes over real servers: the first one exits, or is stopped, or lives on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { HandOver, KeyReport, LockerOptions } from "../../src/index.js";
import { describeWithServer } from "../servers/needs.ts";
import { backendsOn, eventually, figure, test, type Kit } from "./kit.ts";

const SAME: Omit<LockerOptions, "backends"> = {
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 5_000,
};
const ANSWER_MS_MAX = 15_000;

interface Said {
  readonly token?: string;
  readonly handOver?: HandOver;
  readonly state?: string;
  readonly remainingMs?: number;
  readonly lost?: boolean;
  readonly written?: string;
  readonly released?: string;
  readonly code?: string;
}

interface Holder {
  tell(order: string, input?: object): Promise<Said>;
  signal(name: NodeJS.Signals): void;
  exited(): Promise<number | null>;
}

const program = fileURLToPath(new URL("hand-over-process.mjs", import.meta.url));

function holder(servers: readonly { readonly port: number }[], after: Kit["after"]): Holder {
  const child = spawn(process.execPath, [program, ...servers.map(({ port }) => String(port))], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  after(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async tell(order: string, input: object = {}): Promise<Said> {
      child.stdin.write(`${JSON.stringify({ order, ...input })}\n`);
      const timer = setTimeout(() => child.kill("SIGKILL"), ANSWER_MS_MAX);
      const { value, done } = await lines.next();
      clearTimeout(timer);
      if (done === true) throw new Error(`the holder ended before it answered to ${order}`);
      return JSON.parse(value) as Said;
    },
    signal(name: NodeJS.Signals): void {
      child.kill(name);
    },
    async exited(): Promise<number | null> {
      child.stdin.end();
      const [code] = (await exit) as [number | null];
      return code;
    },
  };
}

await describeWithServer("redis-7", "a lease handed to another process", (serverName) => {
  test("goes on while the first process exits, with one token, and is free at the second one's release", async ({
    servers,
    client,
    locker,
    after,
  }) => {
    const three = await servers(3, { server: serverName });
    const [first, second] = [holder(three, after), holder(three, after)];
    await second.tell("start");
    const operator = locker({ ...SAME, backends: backendsOn(three, client) });
    const { token } = await first.tell("acquire");
    const contender = operator.acquire("job", { waitMs: 20_000 });
    let granted = false;
    void contender.then(() => (granted = true));
    const from = performance.now();
    const { handOver } = await first.tell("handOver");
    expect((await second.tell("adopt", { handOver })).token).toBe(token);
    figure("hand-over through two pipes", `${(performance.now() - from).toFixed(1)} ms`);
    await first.tell("exit").catch(() => undefined);
    // Longer than two TTLs: only the second one's keeper can have kept it.
    const until = performance.now() + 4_000;
    const reports: KeyReport[] = [];
    while (performance.now() < until) reports.push(await operator.inspect("job"));
    expect(new Set(reports.map(({ state }) => state))).toEqual(new Set(["held"]));
    expect(new Set(reports.map((report) => report.token))).toEqual(new Set([BigInt(token ?? 0)]));
    expect(granted).toBe(false);
    expect(await second.tell("release")).toEqual({ released: "released" });
    expect((await contender).token > BigInt(token ?? 0)).toBe(true);
    expect(await second.exited()).toBe(0);
  });

  test("is not touched by the first process, stopped after the hand-over and woken up later", async ({
    servers,
    client,
    locker,
    after,
  }) => {
    const three = await servers(3, { server: serverName });
    const [first, second] = [holder(three, after), holder(three, after)];
    await second.tell("start");
    const operator = locker({ ...SAME, backends: backendsOn(three, client) });
    const { token } = await first.tell("acquire");
    const { handOver } = await first.tell("handOver");
    first.signal("SIGSTOP");
    expect((await second.tell("adopt", { handOver })).token).toBe(token);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    first.signal("SIGCONT");
    expect(await first.tell("look")).toEqual({ state: "handed-over", remainingMs: 0, lost: false });
    expect(await first.tell("release")).toEqual({ released: "not-owner" });
    expect(await first.exited()).toBe(0);
    expect((await second.tell("look")).state).toBe("held");
    expect((await operator.inspect("job")).state).toBe("held");
  });

  test("is refused once it was taken away by force and somebody newer came, and a guard refuses the old token", async ({
    servers,
    client,
    stockClient,
    locker,
    after,
  }) => {
    const three = await servers(3, { server: serverName });
    const [first, second] = [holder(three, after), holder(three, after)];
    await second.tell("start");
    const operator = locker({ ...SAME, backends: backendsOn(three, client) });
    await first.tell("acquire");
    expect(await first.tell("write", { value: "first" })).toEqual({ written: "first" });
    first.signal("SIGSTOP");
    expect((await operator.forceRelease("job")).released).toBe(true);
    expect((await second.tell("acquire")).token).toMatch(/^\d+$/);
    expect(await second.tell("write", { value: "second" })).toEqual({ written: "second" });
    first.signal("SIGCONT");
    expect(await first.tell("write", { value: "stale" })).toMatchObject({ code: "STALE_TOKEN" });
    await eventually("the first holder knows", 3_000, async () => (await first.tell("look")).lost === true);
    expect((await first.tell("look")).state).toMatch(/forced-out|expired/);
    expect(await first.tell("handOver")).toMatchObject({ code: "LEASE_LOST" });
    expect(await second.tell("look")).toMatchObject({ state: "held" });
    expect(await stockClient(three[0] as (typeof three)[number]).get("{job}:data")).toBe("second");
  });
});
