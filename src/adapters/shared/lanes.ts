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

/** A turn: a connection to work with, or the place for one that is to be opened. */
type Turn<L> = { readonly lane: L } | "open one";

interface Waiter<L> {
  readonly serve: (turn: Turn<L>) => void;
  readonly refuse: (error: BackendError) => void;
  readonly backend: string;
}

/** For so long no further connection is tried after one was refused, while others work. */
const OPEN_AGAIN_MS = 1_000;

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
  /** Idle, busy or being opened. */
  let places = 0;
  /** Idle or busy, and usable as far as is known. */
  let open: ReadonlySet<L> = new Set();
  let idle: readonly L[] = [];
  let waiters: readonly Waiter<L>[] = [];
  let openAgainAt = 0;

  function turn(backend: string): Turn<L> | Promise<Turn<L>> {
    while (idle.length > 0) {
      const lane = idle.at(-1) as L;
      idle = idle.slice(0, -1);
      if (lane.usable) return { lane };
      lost(lane);
      places--;
    }
    const mayOpen = places < options.lanesMax && (working() === 0 || performance.now() >= openAgainAt);
    if (!mayOpen) return wait(backend);
    places++;
    return "open one";
  }

  function wait(backend: string): Promise<Turn<L>> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter<L> = {
        backend,
        serve(given) {
          clearTimeout(timer);
          resolve(given);
        },
        refuse(error) {
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiters = waiters.filter((each) => each !== waiter);
        reject(allBusy(backend, options.waitMsMax));
      }, options.waitMsMax);
      waiters = [...waiters, waiter];
    });
  }

  function working(): number {
    return [...open].filter(({ usable }) => usable).length;
  }

  function lost(lane: L): void {
    open = new Set([...open].filter((each) => each !== lane));
  }

  /** The lane is done with its work: to the next one with it, or with its place when it cannot be used again. */
  function giveBack(lane: L): void {
    if (!lane.usable || users === 0) {
      lost(lane);
      lane.end();
      givePlace();
      return;
    }
    const [next, ...others] = waiters;
    waiters = others;
    if (next === undefined) idle = [...idle, lane];
    else next.serve({ lane });
  }

  function givePlace(): void {
    const [next, ...others] = waiters;
    if (next === undefined || (working() > 0 && performance.now() < openAgainAt)) {
      places--;
      return;
    }
    waiters = others;
    next.serve("open one");
  }

  /** Connects; where the server takes no more connections but others work, waits for one of those. */
  async function opened(backend: string): Promise<L> {
    try {
      const lane = await options.open(backend);
      open = new Set([...open, lane]);
      return lane;
    } catch (error) {
      openAgainAt = performance.now() + OPEN_AGAIN_MS;
      places--;
      if (working() === 0) {
        // Whoever waits would try the same, one after the other.
        const refused = waiters;
        waiters = [];
        for (const waiter of refused) waiter.refuse(as(waiter.backend, error));
        throw error;
      }
      const given = await wait(backend);
      return given === "open one" ? opened(backend) : given.lane;
    }
  }

  return {
    join(): void {
      users++;
    },

    async use<T>(backend: string, work: (lane: L) => Promise<T>): Promise<T> {
      if (users === 0) throw closed(backend);
      const given = await turn(backend);
      const lane = given === "open one" ? await opened(backend) : given.lane;
      try {
        return await work(lane);
      } finally {
        giveBack(lane);
      }
    },

    suspect(): void {
      for (const lane of idle) {
        lost(lane);
        lane.destroy();
      }
      places -= idle.length;
      idle = [];
    },

    leave(): void {
      if (--users > 0) return;
      forget();
      for (const lane of idle) {
        lost(lane);
        lane.end();
      }
      places -= idle.length;
      idle = [];
      for (const waiter of waiters) waiter.refuse(closed(waiter.backend));
      waiters = [];
    },
  };
}

/** The same fault, for another backend of the same client. */
function as(backend: string, error: unknown): BackendError {
  if (!(error instanceof BackendError)) {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: "not connected" }, error);
  }
  if (error.backend === backend) return error;
  const what = error.message.replace(`backend ${error.backend}: `, "");
  return new BackendError(error.code, { backend, what }, error.cause);
}

function allBusy(backend: string, waitedMs: number): BackendError {
  const what = `all connections to it have been busy for ${waitedMs} ms, no more are sent`;
  return new BackendError("BACKEND_SILENT", { backend, what });
}

function closed(backend: string): BackendError {
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: "closed" });
}
