/**
 * A few connections of an adapter's own to one server, each of which runs one statement at a time. Not a general pool:
 * nothing waits without a bound, and one lock that somebody else holds in the database does not hold up the others.
 */
import { BackendError } from "../../errors.js";

/** A connection of the adapter's own. */
export interface Lane {
  /** Whether it can be used again. */
  readonly usable: boolean;
  /** Ends it at once, whatever it is doing. */
  destroy(): void;
  /** Says goodbye; it is idle. Never rejects. */
  end(): void;
}

/** How to make connections. */
export interface LanesOptions<L extends Lane> {
  /** Rejects with a `BackendError`, in bounded time. */
  readonly open: (backend: string) => Promise<L>;
  readonly lanesMax: number;
  /** For how long a request waits for a connection that is free, in milliseconds. */
  readonly waitMsMax: number;
}

/** Connections to one server. */
export interface Lanes<L extends Lane> {
  /** Runs `work` on a connection that nobody else uses meanwhile. Rejects with what `work` or connecting rejects with. */
  use<T>(backend: string, work: (lane: L) => Promise<T>): Promise<T>;
  /** Every connection that is idle may be as dead as the one that just fell silent. */
  suspect(): void;
  /** The session is done with them. */
  leave(): void;
}

interface Waiter<L> {
  readonly serve: (turn: L | "a place") => void;
  readonly refuse: (error: BackendError) => void;
  readonly backend: string;
}

/** The connections of a client, shared by all lockers of the process; every call must be followed by one `leave()`. */
export function shareLanes<L extends Lane>(
  shared: WeakMap<object, SharedLanes<L>>,
  client: object,
  options: LanesOptions<L>,
): Lanes<L> {
  let lanes = shared.get(client);
  if (lanes === undefined) {
    lanes = openLanes(options, () => shared.delete(client));
    shared.set(client, lanes);
  }
  lanes.join();
  return lanes;
}

/** Lanes with a count of who uses them. */
export interface SharedLanes<L extends Lane> extends Lanes<L> {
  join(): void;
}

function openLanes<L extends Lane>(options: LanesOptions<L>, forget: () => void): SharedLanes<L> {
  let users = 0;
  /** Open, opening or busy. */
  let places = 0;
  let idle: readonly L[] = [];
  let waiters: readonly Waiter<L>[] = [];

  function place(backend: string): L | "a place" | Promise<L | "a place"> {
    while (idle.length > 0) {
      const lane = idle.at(-1) as L;
      idle = idle.slice(0, -1);
      if (lane.usable) return lane;
      places--;
    }
    if (places < options.lanesMax) {
      places++;
      return "a place";
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter<L> = {
        backend,
        serve(turn) {
          clearTimeout(timer);
          resolve(turn);
        },
        refuse(error) {
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiters = waiters.filter((each) => each !== waiter);
        reject(allBusy(backend, options));
      }, options.waitMsMax);
      waiters = [...waiters, waiter];
    });
  }

  function giveBack(lane: L | undefined): void {
    const turn = lane?.usable === true ? lane : undefined;
    if (turn === undefined) lane?.end();
    const [next, ...others] = waiters;
    if (users > 0 && next !== undefined) {
      waiters = others;
      next.serve(turn ?? "a place");
    } else if (users > 0 && turn !== undefined) {
      idle = [...idle, turn];
    } else {
      turn?.end();
      places--;
    }
  }

  return {
    join(): void {
      users++;
    },

    async use<T>(backend: string, work: (lane: L) => Promise<T>): Promise<T> {
      if (users === 0) throw closed(backend);
      const turn = await place(backend);
      let lane: L | undefined;
      try {
        lane = turn === "a place" ? await options.open(backend) : turn;
        return await work(lane);
      } finally {
        giveBack(lane);
      }
    },

    suspect(): void {
      for (const lane of idle) lane.destroy();
      places -= idle.length;
      idle = [];
    },

    leave(): void {
      if (--users > 0) return;
      forget();
      for (const lane of idle) lane.end();
      places -= idle.length;
      idle = [];
      for (const waiter of waiters) waiter.refuse(closed(waiter.backend));
      waiters = [];
    },
  };
}

function allBusy(
  backend: string,
  options: { readonly lanesMax: number; readonly waitMsMax: number },
): BackendError {
  const what = `all ${options.lanesMax} connections to it have been busy for ${options.waitMsMax} ms`;
  return new BackendError("BACKEND_SILENT", { backend, what });
}

function closed(backend: string): BackendError {
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: "closed" });
}
