/** What goes wrong. Each fault begins, lasts, and is undone; what it needs for itself meanwhile it names. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Direction } from "../servers/tcp-proxy.ts";
import type { Seat, Stage } from "./stage.ts";

/** The dice of the plan. */
export interface Dice {
  between(min: number, max: number): number;
  pick<T>(list: readonly T[]): T;
}

/** A fault, drawn and not begun. */
export interface Fault {
  /** What nobody else may touch while it lasts: "server 1", "client 0", "memory". */
  readonly holds: readonly string[];
  /** Resolves when all is well again; to how often it struck, which is 0 where the assumptions forbade it. */
  run(): Promise<number>;
}

/** Draws a fault of a kind. */
export type DrawFault = (stage: Stage, dice: Dice) => Fault;

/** One for every kind of fault, with its name in the verdict. */
export const FAULTS = {
  "server killed, back with its memory": (stage, dice) => {
    const seat = dice.pick(stage.seats);
    const downMs = dice.between(0, 1_500);
    return { holds: [server(seat)], run: () => restarted([seat], { downMs, empty: false }) };
  },
  "server killed, back empty": (stage, dice) => {
    const seat = dice.pick(stage.seats);
    const times = { downMs: dice.between(0, 800), settleMs: dice.between(0, 3_500) };
    return { holds: [server(seat), MEMORY], run: () => emptied(stage, [seat], times) };
  },
  "all servers but one killed, back empty": (stage, dice) => {
    const kept = dice.pick(stage.seats);
    const others = stage.seats.filter((seat) => seat !== kept);
    const times = { downMs: dice.between(0, 300), settleMs: dice.between(1_500, 5_000) };
    return { holds: [...stage.seats.map(server), MEMORY], run: () => emptied(stage, others, times) };
  },
  "server frozen": (stage, dice) => {
    const seat = dice.pick(stage.seats);
    const forMs = dice.between(100, 3_000);
    return { holds: [server(seat)], run: () => frozen([seat], forMs) };
  },
  "no quorum: servers frozen": (stage, dice) => {
    const first = dice.pick(stage.seats).index;
    const needed = stage.seats.length - stage.quorum + 1;
    const seats = Array.from(
      { length: needed },
      (_, i) => stage.seats[(first + i) % stage.seats.length] as Seat,
    );
    const forMs = dice.between(200, 1_500);
    return { holds: seats.map(server), run: () => frozen(seats, forMs) };
  },
  "link half-open": (stage, dice) => {
    const links = [dice.pick(dice.pick(stage.links))];
    const direction = dice.pick<Direction | "both">(["both", "to-server", "to-client"]);
    const forMs = dice.between(200, 3_000);
    return { holds: [], run: () => cut(links, { direction, forMs }) };
  },
  "client cut off": (stage, dice) => {
    const links = dice.pick(stage.links);
    const direction = dice.pick<Direction | "both">(["both", "to-server", "to-client"]);
    const forMs = dice.between(200, 3_000);
    return { holds: [], run: () => cut(links, { direction, forMs }) };
  },
  "server cut off": (stage, dice) => {
    const { index } = dice.pick(stage.seats);
    const links = stage.links.flatMap((own) => own[index] ?? []);
    const forMs = dice.between(200, 3_000);
    return { holds: [], run: () => cut(links, { direction: "both", forMs }) };
  },
  "connections reset": (stage, dice) => {
    const { index } = dice.pick(stage.seats);
    return {
      holds: [],
      async run() {
        for (const own of stage.links) own[index]?.drop();
        await sleep(300);
        return 1;
      },
    };
  },
  "latency and jitter": (stage, dice) => {
    const links = dice.pick([
      dice.pick(stage.links),
      stage.links.flat(),
      [dice.pick(dice.pick(stage.links))],
    ]);
    const worstMs = dice.between(5, 150);
    const changes = Array.from({ length: 15 }, () => dice.between(0, worstMs));
    return {
      holds: [],
      async run() {
        for (const delayMs of changes) {
          for (const link of links) link.delayMs = delayMs;
          await sleep(100);
        }
        for (const link of links) link.delayMs = 0;
        return 1;
      },
    };
  },
  "client stopped": (stage, dice) => {
    const index = Math.floor(dice.between(0, stage.clients));
    // More often than not beyond the longest TTL.
    const forMs = dice.between(500, 4_000);
    return {
      holds: [client(index)],
      async run() {
        stage.client(index).pause();
        await sleep(forMs);
        stage.client(index).resume();
        return 1;
      },
    };
  },
  "client killed and replaced": (stage, dice) => {
    const index = Math.floor(dice.between(0, stage.clients));
    return {
      holds: [client(index)],
      async run() {
        await stage.replaceClient(index);
        return 1;
      },
    };
  },
  "client clock jumped": (stage, dice) => {
    const index = Math.floor(dice.between(0, stage.clients));
    const byMs = Math.round(dice.pick([-1, 1]) * dice.pick([40, 5_000, 3_600_000]));
    return { holds: [client(index)], run: () => clientClock(stage, { index, byMs }) };
  },
  "client clock jumped within the skew": (stage, dice) => {
    const index = Math.floor(dice.between(0, stage.clients));
    const byMs = Math.round(dice.between(-40, 40));
    return { holds: [client(index)], run: () => clientClock(stage, { index, byMs }) };
  },
  "server clock jumped": (stage, dice) => {
    const seat = dice.pick(stage.seats);
    const byMs = dice.pick([-1, 1, 1]) * dice.between(500, 60_000);
    const forMs = dice.between(300, 2_500);
    return {
      holds: [server(seat)],
      async run() {
        await seat.server.setClock?.(byMs);
        await sleep(forMs);
        await seat.server.setClock?.(0);
        return 2;
      },
    };
  },
} as const satisfies Readonly<Record<string, DrawFault>>;

/** The name of a fault. */
export type FaultName = keyof typeof FAULTS;

/** One loss of memory at a time, so that what was seen before it is still so when it happens. */
const MEMORY = "memory";

function server({ index }: Seat): string {
  return `server ${index}`;
}

function client(index: number): string {
  return `client ${index}`;
}

async function restarted(
  seats: readonly Seat[],
  how: { readonly downMs: number; readonly empty: boolean },
): Promise<number> {
  await Promise.all(seats.map((seat) => seat.server.kill()));
  await sleep(how.downMs);
  await Promise.all(seats.map((seat) => seat.server.restart({ empty: how.empty })));
  return seats.length;
}

/**
 * Under "auto" another backend must vote, or know of the deployment, whenever one forgets; nothing else is asked. The time
 * to settle is shorter than a quarantine or longer, since without any quorum nobody holds anything that could go wrong.
 */
async function emptied(
  stage: Stage,
  seats: readonly Seat[],
  times: { readonly downMs: number; readonly settleMs: number },
): Promise<number> {
  const others = stage.seats.filter((seat) => !seats.includes(seat));
  const remembering = await Promise.all(others.map((seat) => seat.remembers()));
  if (!remembering.some(Boolean)) {
    await sleep(100);
    return 0;
  }
  const struck = await restarted(seats, { downMs: times.downMs, empty: true });
  await sleep(times.settleMs);
  return struck;
}

async function frozen(seats: readonly Seat[], forMs: number): Promise<number> {
  await Promise.all(seats.map((seat) => seat.server.freeze()));
  await sleep(forMs);
  await Promise.all(seats.map((seat) => seat.server.thaw()));
  return seats.length;
}

async function cut(
  links: readonly { cut(direction: Direction | "both"): void; heal(): void }[],
  how: { readonly direction: Direction | "both"; readonly forMs: number },
): Promise<number> {
  for (const link of links) link.cut(how.direction);
  await sleep(how.forMs);
  for (const link of links) link.heal();
  return 1;
}

async function clientClock(
  stage: Stage,
  how: { readonly index: number; readonly byMs: number },
): Promise<number> {
  stage.client(how.index).order({ wallOffsetMs: how.byMs });
  await sleep(1_000);
  stage.client(how.index).order({ wallOffsetMs: 0 });
  return 2;
}
