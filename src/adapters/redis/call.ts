/** Running scripts and commands on a connection, with typed faults. */
import { BackendError } from "../../errors.js";
import type { Connection } from "./connection.js";
import { faultOf } from "./faults.js";
import type { Script } from "./scripts.js";

/** Sends to whatever server is behind the connection. Rejects with a `BackendError`. */
export interface Caller {
  /** By the name under which servers cache the script; with its text where one does not have it. */
  run(script: Script, keys: number, args: readonly string[]): Promise<unknown>;
  /** As {@link Caller.run}, as soon as there is a connection. */
  runWhenReady(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  command(command: string, ...args: string[]): Promise<unknown>;
  fault(error: unknown): BackendError;
}

/** `before` is called ahead of everything that is sent, and must send what has to arrive earlier. */
export function createCaller(
  connection: Connection,
  name: string,
  on: { readonly sending: () => void; readonly fault: (fault: BackendError) => void },
): Caller {
  function fault(error: unknown): BackendError {
    const typed = error instanceof BackendError ? error : faultOf(name, error, connection.lastError());
    on.fault(typed);
    return typed;
  }

  function run(script: Script, keys: number, args: readonly string[]): Promise<unknown> {
    on.sending();
    return connection.client.evalsha(script.sha, keys, ...args).catch((error: unknown) => {
      if (!isNoScript(error)) throw fault(error);
      return connection.client.eval(script.lua, keys, ...args).catch((second: unknown) => {
        throw fault(second);
      });
    });
  }

  return {
    run,
    fault,
    runWhenReady(script, keys, args) {
      const all = [...keys, ...args];
      if (connection.isReady()) return run(script, keys.length, all);
      return connection.ready(name).then(() => run(script, keys.length, all));
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
