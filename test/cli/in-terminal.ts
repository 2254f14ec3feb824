// A command in a real terminal (a pty, by `script` of util-linux): what a person would type, and what the person would see.
import { spawn } from "node:child_process";
import { onTestFinished } from "vitest";
import { waitUntil } from "../servers/wait-until.ts";
import { MAIN } from "./running-cli.ts";

export interface InTerminal {
  /** All that was written to the terminal. */
  seen(): string;
  /** As {@link seen}, without colours and other codes. */
  text(): string;
  type(keys: string): void;
  /** Resolves when the text shows it. */
  shows(what: RegExp): Promise<void>;
  /** The exit code. */
  readonly exited: Promise<number>;
}

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** The program in a terminal of 80 columns. */
export function cliInTerminal(args: readonly string[], options: TerminalOptions = {}): InTerminal {
  return inTerminal([process.execPath, MAIN, ...args], options);
}

/** Any command in a terminal of 80 columns; ended with the test. */
export function inTerminal(argv: readonly string[], options: TerminalOptions = {}): InTerminal {
  const command = ["stty", "cols", "80", "rows", "24", "&&", "exec", ...argv.map(quoted)].join(" ");
  const child = spawn("script", ["-q", "-e", "-f", "-c", command, "/dev/null"], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, TERM: "xterm-256color", NO_COLOR: "", ...options.env },
  });
  let seen = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (seen += text));
  }
  child.stdin.on("error", () => undefined);
  const exited = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? -1));
  });
  exited.catch(() => undefined);
  onTestFinished(() => void child.kill("SIGKILL"));
  const text = (): string => plain(seen);
  return {
    seen: () => seen,
    text,
    type: (keys) => void child.stdin.write(keys),
    shows: (what) =>
      waitUntil({ what: `${what} in the terminal`, timeoutMs: 20_000, detail: text }, async () =>
        what.test(text()),
      ),
    exited,
  };
}

function plain(seen: string): string {
  // oxlint-disable-next-line no-control-regex -- what a terminal's codes begin with
  return seen.replace(/\x1b(\[[0-9;?]*[A-Za-z]|[=>])/g, "").replaceAll("\r", "");
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
