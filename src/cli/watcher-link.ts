/** Quorum-lock's end of the watcher (watcher.ts): starts it, gives it orders, and replaces it when it is lost. */
import { spawn, type ChildProcess } from "node:child_process";
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
/** One that lived for so long is no sign that the next will not. */
const STEADY_AFTER_MS = 60_000;

const PROGRAM = fileURLToPath(new URL("./watcher.js", import.meta.url));

/** Starts a watcher. It has nothing to do before its first orders. */
export function startWatcher(events: WatcherEvents): WatcherLink {
  let child: ChildProcess;
  let orders: Orders | undefined;
  let unobeyed = 0;
  let replacements = 0;
  let startedAtMs = 0;
  let unread = "";
  let state: "needed" | "lost" | "dismissed" = "needed";
  let patience: NodeJS.Timeout | undefined;
  let waiting: readonly { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  function start(): void {
    unobeyed = 0;
    unread = "";
    startedAtMs = performance.now();
    const started = spawn(process.execPath, [PROGRAM], {
      // A session of its own: Ctrl-C and the end of the terminal are not for it.
      detached: true,
      // Our stderr as its fourth: at its end a Node process resets the terminal of its first three to what it was at
      // its start, which is wrong when it outlives us in the background.
      stdio: ["pipe", "pipe", "ignore", 2],
      cwd: "/",
      env: environment(),
    });
    child = started;
    const lost = (): void => {
      if (child === started) replace();
    };
    started.on("exit", lost);
    started.on("error", lost);
    // Where not even the pipes could be made; "error" follows.
    const { stdin, stdout } = started as Partial<typeof started>;
    if (!stdin || !stdout) return;
    stdin.on("error", () => undefined);
    stdout.on("error", () => undefined);
    stdout.setEncoding("utf8").on("data", (text: string) => {
      if (child === started) heard(text);
    });
    if (orders !== undefined) send(orders);
  }

  function send(next: Orders): void {
    unobeyed++;
    child.stdin?.write(encode(next));
    patience ??= setTimeout(losePatience, OBEY_WITHIN_MS);
  }

  function losePatience(): void {
    patience = undefined;
    // This process may have been stopped, and the answer be there to be read: that comes first.
    setImmediate(() => {
      // Its end is noticed, and it is replaced then.
      if (unobeyed > 0 && patience === undefined) child.kill("SIGKILL");
    });
  }

  function heard(text: string): void {
    const lines = (unread + text).split("\n");
    unread = lines.pop() ?? "";
    for (const line of lines) {
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
    if (performance.now() - startedAtMs > STEADY_AFTER_MS) replacements = 0;
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
        child.stdin?.end(encode("dismissed"));
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
