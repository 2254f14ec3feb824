/** The few connections of an adapter's own: who waits for whom, and that nobody waits for ever. */
import { expect, test } from "vitest";
import { shareLanes, type Lane, type Lanes, type SharedLanes } from "../../src/adapters/shared/lanes.js";
import { BackendError } from "../../src/errors.js";

interface FakeLane extends Lane {
  readonly number: number;
  usable: boolean;
  ended: boolean;
}

/** A server that takes `capacity` connections. */
function server(capacity: number, lanesMax = 3, waitMsMax = 50) {
  const made: FakeLane[] = [];
  const state = { capacity, tries: 0 };
  const shared = new WeakMap<object, SharedLanes<FakeLane>>();
  const client = {};
  const connect = (): Lanes<FakeLane> =>
    shareLanes(shared, client, {
      lanesMax,
      waitMsMax,
      async open(backend) {
        state.tries++;
        await Promise.resolve();
        if (made.filter(({ usable }) => usable).length >= state.capacity) {
          throw new BackendError("BACKEND_NOT_CONNECTED", { backend, what: "too many connections" });
        }
        const lane: FakeLane = {
          number: made.length,
          usable: true,
          ended: false,
          destroy() {
            lane.usable = false;
          },
          end() {
            lane.usable = false;
            lane.ended = true;
          },
        };
        made.push(lane);
        return lane;
      },
    });
  return { connect, made, state };
}

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

test("as many connections as there are requests, up to the limit; then they take turns, each alone on its own", async () => {
  const { connect, made } = server(10);
  const lanes = connect();
  const busy = new Set<number>();
  const numbers = await Promise.all(
    Array.from({ length: 9 }, () =>
      lanes.use("b", async ({ number }) => {
        expect(busy.has(number)).toBe(false);
        busy.add(number);
        await new Promise((resolve) => setTimeout(resolve, 2));
        busy.delete(number);
        return number;
      }),
    ),
  );
  expect(made).toHaveLength(3);
  expect(numbers.toSorted()).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
});

test("a request waits for a connection no longer than the bound, and is then refused without having been sent", async () => {
  const { connect } = server(1, 1);
  const lanes = connect();
  const { opened, open } = gate();
  const long = lanes.use("b", () => opened);
  const error = await lanes.use("b", async () => "sent").catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "BACKEND_SILENT", effect: "none" });
  open();
  await long;
  expect(await lanes.use("b", async () => "sent")).toBe("sent");
});

test("a server that takes fewer connections than wished serves all requests over those that it took", async () => {
  const { connect, state } = server(1);
  const lanes = connect();
  const served = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      lanes.use("b", async () => i).catch((error: Error) => error.message),
    ),
  );
  // The first few ask for connections at once, before any of them is known to work.
  expect(served.filter((each) => typeof each === "number").length).toBeGreaterThanOrEqual(9);
  expect(await lanes.use("b", async () => "served")).toBe("served");
  expect(state.tries).toBeLessThanOrEqual(4);
});

test("where nothing can be connected, whoever waits is told at once, each by the name of his backend", async () => {
  const { connect, state } = server(0, 1, 10_000);
  const lanes = connect();
  const errors = await Promise.all(
    ["a", "b", "a", "b"].map((name) =>
      lanes.use(name, async () => undefined).catch((error: BackendError) => error),
    ),
  );
  expect(errors.map((error) => (error as BackendError).message)).toEqual([
    "backend a: too many connections",
    "backend b: too many connections",
    "backend a: too many connections",
    "backend b: too many connections",
  ]);
  expect(state.tries).toBe(1);
});

test("a connection that broke is not used again, and its place is", async () => {
  const { connect, made } = server(1, 1);
  const lanes = connect();
  await lanes.use("b", async (lane) => lane.destroy());
  expect(await lanes.use("b", async ({ number }) => number)).toBe(1);
  made[1]?.destroy();
  expect(await lanes.use("b", async ({ number }) => number)).toBe(2);
  lanes.suspect();
  expect(made[2]?.usable).toBe(false);
  expect(await lanes.use("b", async ({ number }) => number)).toBe(3);
});

test("lockers share the connections of a client; the last one closes them, and whoever waits then is refused", async () => {
  const { connect, made } = server(1, 1, 10_000);
  const [one, other] = [connect(), connect()];
  await one.use("b", async () => undefined);
  one.leave();
  expect(made[0]?.ended).toBe(false);
  const { opened, open } = gate();
  const busy = other.use("b", () => opened);
  const waiting = other.use("b", async () => undefined).catch((error: unknown) => error);
  other.leave();
  expect(await waiting).toMatchObject({ code: "BACKEND_NOT_CONNECTED" });
  open();
  await busy;
  expect(made[0]?.ended).toBe(true);
  await expect(other.use("b", async () => undefined)).rejects.toMatchObject({
    code: "BACKEND_NOT_CONNECTED",
  });
  expect(await connect().use("b", async ({ number }) => number)).toBe(1);
});
