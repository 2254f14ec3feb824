/** What a kind of backend must be able to do here. One small file in kinds/ for each. */
import type { Backend } from "../../src/backend.js";
import type { Faketime } from "../../scripts/servers/faketime.mjs";

/** A running server with its faults. `RunningRedis` of test/servers has them all. */
export interface ChaosServer {
  readonly port: number;
  readonly version: string;
  /** SIGSTOP. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with what it had acknowledged or with nothing; resolves when it answers. */
  restart(how: { readonly empty: boolean }): Promise<void>;
  /** Kills it for good and removes its files. */
  stop(): Promise<void>;
  /** Sets its wall clock to so many milliseconds from the true one; only where it was started with `faketime`. */
  setClock?(offsetMs: number): Promise<void>;
}

/** A backend through some address, in whatever process. */
export interface Connected {
  readonly backend: Backend;
  close(): void;
}

/** One kind of backend. */
export interface Kind {
  /** As in `--kinds`. */
  readonly name: string;
  /** Whether a restart with its memory is no new memory. */
  readonly durable: boolean;
  /** Whether its wall clock can be set. */
  readonly setsClock: boolean;
  /** Rejects, saying how to get it, where the server is missing. */
  start(how: { readonly faketime: Faketime | undefined }): Promise<ChaosServer>;
  /** A backend on 127.0.0.1; `name` is unique among the backends of a locker. */
  connect(at: { readonly port: number; readonly name: string }): Promise<Connected>;
}
