/** What is used where no backend is configured: a SQLite file of this user on this host. */
import { mkdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { ConfigError, show } from "../errors.js";
import type { Environment } from "./environment.js";
import type { BackendSettings } from "./kind.js";

const FOLDER = "quorum-lock";
const FILE = "locks.db";
const OTHERS_MAY_WRITE = 0o022;

/** Where the file lies: `$XDG_STATE_HOME/quorum-lock/locks.db`, or below `~/.local/state`. */
export function embeddedPath(env: Environment): string {
  const { XDG_STATE_HOME: state, HOME: home } = env;
  // The standard says that a relative one is to be ignored.
  const root = state !== undefined && isAbsolute(state) ? state : join(home || homedir(), ".local", "state");
  return join(root, FOLDER, FILE);
}

/** The backend of the embedded default; its folder is made where it is not there. Throws a `ConfigError`. */
export function embeddedBackend(env: Environment): BackendSettings {
  const path = embeddedPath(env);
  makeFolder(join(path, ".."), env);
  const place = { kind: "code", name: "backends" } as const;
  return {
    kind: "sqlite",
    scheme: "sqlite",
    url: `sqlite:${path}`,
    place,
    hosts: [],
    path,
    fields: { name: "this host" },
    tls: undefined,
    shown: [],
  };
}

/** For this user alone: who may write there could give himself any lock. */
function makeFolder(folder: string, env: Environment): void {
  const byState = isAbsolute(env["XDG_STATE_HOME"] ?? "");
  const place = { kind: "variable", name: byState ? "XDG_STATE_HOME" : "HOME" } as const;
  let mode: number;
  let uid: number;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    ({ mode, uid } = statSync(folder));
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      place,
      `such that a folder can be made there for locks of this host (${code}), or --backend given`,
      show(folder),
    );
  }
  const me = process.getuid?.();
  if ((mode & OTHERS_MAY_WRITE) !== 0 || (me !== undefined && uid !== me)) {
    throw new ConfigError(
      place,
      "such that only this user may write to the folder for locks of this host (chmod 700)",
      show(folder),
    );
  }
}
