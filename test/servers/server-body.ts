// What runs a server: a process of this machine, or a container. Everything above this file treats both the same.
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { ResolvedServer } from "../../scripts/servers.mjs";
import { startGuarded } from "./guarded-process.mjs";
import { freezeTree, killTree, thawTree } from "./process-tree.mjs";
import { waitUntil } from "./wait-until.ts";

export interface Body {
  readonly pid: number;
  running(): Promise<boolean>;
  /** Resolves when the server executes nothing any more; its sockets stay open. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Like a power cut for the process, frozen or not. Resolves when it is gone; may be called again. */
  kill(): Promise<void>;
}

export interface Launch {
  server: ResolvedServer;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Holds everything the server reads and writes; its output goes to {@link logOf} there. */
  dir: string;
}

export function logOf(dir: string): string {
  return join(dir, "server.log");
}

export async function startBody(launch: Launch): Promise<Body> {
  switch (launch.server.origin) {
    case "debian-packages":
    case "path":
      return startProcess(launch);
    case "docker": {
      // Loaded only here: the package takes a second to load and is of no use without an engine.
      const { startContainer } = await import("./containers.ts");
      return startContainer(launch);
    }
  }
}

function startProcess(launch: Launch): Body {
  const { server, dir } = launch;
  const output = openSync(logOf(dir), "a");
  const program = {
    command: server.command,
    args: [...server.args, ...launch.args],
    env: { ...server.env, ...launch.env },
  };
  try {
    const child = startGuarded(program, { folder: dir, output });
    return {
      pid: child.pid,
      running: async () => child.running(),
      freeze: async () => {
        if (!child.running()) throw new Error(`server ${child.pid} is not running and cannot be frozen`);
        await freezeTree(child.pid);
      },
      thaw: async () => void (child.running() && thawTree(child.pid)),
      kill: async () => {
        if (child.running()) await killTree(child.pid);
        await waitUntil(
          { what: `server ${child.pid} gone`, timeoutMs: 10_000 },
          async () => !child.running(),
        );
      },
    };
  } finally {
    closeSync(output);
  }
}
