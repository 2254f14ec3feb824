/** Quorum-lock's end of the watcher (watcher.ts): starts it, gives it orders, and replaces it when it is lost. */
import { spawn, type ChildProcess } from "node:child_process";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";
import { encode, type Orders } from "./orders.js";

/** What the watcher reports, beside that it obeyed. */
export interface WatcherEvents {
  /** It has begun to end the command: this process did not run when it should have. */
  readonly onEnding: () => void;
  /** No watcher can be had any more; the command must not go on without one. */
  readonly onLost: () => void;
}

/** A watcher, or the one that replaced it. */
export interface WatcherLink {
  /** Resolves when a watcher knows these orders or later ones; rejects with a {@link CommandLineError}. */
  order(orders: Orders): Promise<void>;
  /** Ends it; bounded. */
  dismiss(): Promise<void>;
}

/** A watcher that does not obey within this is as good as dead, and killed. */
const OBEY_WITHIN_MS = 2_000;
const DISMISS_WITHIN_MS = 500;
const REPLACEMENTS_MAX = 3;

const PROGRAM = fileURLToPath(new URL("./watcher.js", import.meta.url));

/** Starts a watcher. It has nothing to do before its first orders. */
export function startWatcher(events: WatcherEvents): WatcherLink {
  let child: ChildProcess;
  let orders: Orders | undefined;
  let unobeyed = 0;
  let replacements = 0;
  let state: "needed" | "lost" | "dismissed" = "needed";
  let patience: NodeJS.Timeout | undefined;
  let waiting: readonly { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  function start(): void {
    unobeyed = 0;
    const started = spawn(process.execPath, [PROGRAM], {
      // A session of its own: Ctrl-C and the end of the terminal are not for it.
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
      cwd: "/",
      env: environment(),
    });
    child = started;
    const lost = (): void => {
      if (child === started) replace();
    };
    started.on("exit", lost);
    started.on("error", lost);
    started.stdin.on("error", () => undefined);
    started.stdout.on("error", () => undefined);
    started.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (child === started) heard(text);
    });
    if (orders !== undefined) send(orders);
  }

  function send(next: Orders): void {
    unobeyed++;
    (child.stdin as Writable).write(encode(next));
    patience ??= setTimeout(() => {
      patience = undefined;
      // Its end is noticed, and it is replaced then.
      child.kill("SIGKILL");
    }, OBEY_WITHIN_MS);
  }

  function heard(text: string): void {
    for (const line of text.split("\n")) {
      if (line === "ending") events.onEnding();
      if (line === "obeyed") unobeyed--;
    }
    if (unobeyed > 0) return;
    clearTimeout(patience);
    patience = undefined;
    const served = waiting;
    waiting = [];
    for (const { resolve } of served) resolve();
  }

  function replace(): void {
    clearTimeout(patience);
    patience = undefined;
    if (state !== "needed") return;
    if (replacements++ < REPLACEMENTS_MAX) {
      start();
      return;
    }
    state = "lost";
    const refused = waiting;
    waiting = [];
    for (const { reject } of refused) reject(lostAgain());
    events.onLost();
  }

  start();
  return {
    order(next: Orders): Promise<void> {
      orders = next;
      if (state !== "needed") return Promise.reject(lostAgain());
      return new Promise((resolve, reject) => {
        waiting = [...waiting, { resolve, reject }];
        send(next);
      });
    },
    dismiss(): Promise<void> {
      if (state !== "needed") return Promise.resolve();
      state = "dismissed";
      clearTimeout(patience);
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          child.kill("SIGKILL");
          resolve();
        }, DISMISS_WITHIN_MS);
        child.once("exit", () => {
          clearTimeout(timer);
          resolve();
        });
        (child.stdin as Writable).end(encode("dismissed"));
      });
    },
  };
}

function lostAgain(): CommandLineError {
  return new CommandLineError(
    EXIT.internal,
    "the watcher, which ends the command when quorum-lock is killed, was lost again and again, and the command does " +
      "not run without it: is the machine out of memory or processes?",
  );
}

/** Ours, without what would make a Node process do more than it has to. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, ...rest } = process.env;
  return rest;
}
