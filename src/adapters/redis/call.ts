/** Running scripts and commands on a connection, with typed faults. */
import { BackendError } from "../../errors.js";
import type { Connection } from "./connection.js";
import { faultOf } from "./faults.js";
import type { Script } from "./scripts.js";

/** Sends to whatever server is behind the connection. Rejects with a `BackendError`. */
export interface Caller {
  /**
   * By the name under which servers cache the script; with its text where one does not have it. `read` says what the
   * reply means; in the same step, since a promise more for every request is what a busy process has most of.
   */
  run<T>(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    read: (reply: unknown) => T | Promise<T>,
  ): Promise<T>;
  /** As {@link Caller.run}, as soon as there is a connection. */
  runWhenReady(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  command(command: string, ...args: string[]): Promise<unknown>;
  fault(error: unknown): BackendError;
  /** How many scripts are on their way. */
  unanswered(): number;
}

/** `before` is called ahead of everything that is sent, and must send what has to arrive earlier. */
export function createCaller(
  connection: Connection,
  name: string,
  on: { readonly sending: () => void; readonly fault: (fault: BackendError) => void },
): Caller {
  let unanswered = 0;

  function fault(error: unknown): BackendError {
    const typed = error instanceof BackendError ? error : faultOf(name, error, connection.lastError());
    on.fault(typed);
    return typed;
  }

  function run<T>(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    read: (reply: unknown) => T | Promise<T>,
  ): Promise<T> {
    on.sending();
    unanswered++;
    return connection.client.evalsha(script.sha, keys.length, ...keys, ...args).then(
      (reply) => {
        unanswered--;
        return read(reply);
      },
      (error: unknown) => {
        unanswered--;
        if (!isNoScript(error)) throw fault(error);
        return runText(script, keys, args).then(read);
      },
    );
  }

  function runText(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    return connection.client.eval(script.lua, keys.length, ...keys, ...args).catch((error: unknown) => {
      throw fault(error);
    });
  }

  return {
    run,
    fault,
    unanswered: () => unanswered,
    runWhenReady(script, keys, args) {
      const itself = (reply: unknown): unknown => reply;
      if (connection.isReady()) return run(script, keys, args, itself);
      return connection.ready(name).then(() => run(script, keys, args, itself));
    },
    async command(command, ...args) {
      await connection.ready(name);
      on.sending();
      return connection.client.call(command, ...args).catch((error: unknown) => {
        throw fault(error);
      });
    },
  };
}

/** Sure not to have been executed: the server was restarted, or its script cache flushed. */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

/** The texts of a list that a script returned. */
export function texts(reply: unknown): readonly (string | undefined)[] {
  return Array.isArray(reply)
    ? reply.map((each) => (each === null || each === undefined ? undefined : String(each)))
    : [];
}
