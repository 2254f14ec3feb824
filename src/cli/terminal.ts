/**
 * What the command line prints. Written with the file descriptors directly: Node's own streams make a pipe
 * non-blocking, which the command that shares it would notice.
 */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";

/** Of the narrowest terminal in use. */
const COLUMNS = 80;

// oxlint-disable-next-line no-control-regex -- what colours are made of
const COLOUR = /\x1b\[\d+m/g;
// oxlint-disable-next-line no-control-regex
const BEFORE_COLOUR = /(?=\x1b\[\d+m)/;
const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const TRIES_MAX = 200;
const TRY_EVERY_MS = 5;
const SPIN_EVERY_MS = 120;

/** Colours for text; the same text where there are none. */
export interface Colours {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  doubtful(text: string): string;
  bad(text: string): string;
}

/** Prints to stdout. Ends the process quietly when nobody reads any more. */
export function print(text: string): void {
  const error = write(STDOUT, `${text}\n`);
  // As for every program in a pipe whose reader has left, 128 + SIGPIPE.
  if (error === "EPIPE") process.exit(141);
}

/** Prints one line about a problem to stderr. Nothing better can be done when that fails. */
export function tell(line: string): void {
  const text = `quorum-lock: ${line}`;
  // One line for programs; a terminal would break it within words.
  write(STDERR, `${isatty(STDERR) ? wrapped(text) : text}\n`);
}

/** Colours when stdout is a terminal that has them and nobody objects (https://no-color.org). */
export function coloursOfStdout(): Colours {
  const { NO_COLOR: noColor } = process.env as { NO_COLOR?: string };
  const coloured = canRedraw("stdout") && (noColor === undefined || noColor === "");
  const style =
    (start: number, end: number) =>
    (text: string): string =>
      coloured ? `\x1b[${start}m${text}\x1b[${end}m` : text;
  return {
    bold: style(1, 22),
    dim: style(2, 22),
    good: style(32, 39),
    doubtful: style(33, 39),
    bad: style(31, 39),
  };
}

/** Whether it is a terminal on which lines can be drawn anew. */
export function canRedraw(stream: "stdout" | "stderr"): boolean {
  return isatty(stream === "stdout" ? STDOUT : STDERR) && process.env["TERM"] !== "dumb";
}

/** Whether somebody can be asked: what is typed comes from a terminal, and what is asked is seen. */
export function canAsk(): boolean {
  return isatty(STDIN) && isatty(STDERR);
}

/** Writes to stderr as it is: a question, or a spinner. */
export function show(text: string): void {
  write(STDERR, text);
}

/** Says on a terminal that something is going on, until the returned function is called. Says nothing elsewhere. */
export function startSpinner(text: string): () => void {
  if (!canRedraw("stderr")) return () => undefined;
  let turn = 0;
  const draw = (): void => show(`\r${"|/-\\"[turn++ % 4]} ${text}`);
  // What is over at once needs no spinner.
  const timer = setInterval(draw, SPIN_EVERY_MS);
  return () => {
    clearInterval(timer);
    if (turn > 0) show("\r\x1b[K");
  };
}

/** Lines on stdout, a terminal, that are drawn anew in place. */
export function createScreen(): { draw(lines: readonly string[]): void } {
  let height = 0;
  return {
    draw(lines): void {
      const columns = process.stdout.columns || COLUMNS;
      const up = height === 0 ? "" : `\x1b[${height}A`;
      // Lines that the terminal breaks would be more than it takes back.
      const text = lines.map((line) => `${cut(line, columns)}\x1b[K\n`).join("");
      height = lines.length;
      write(STDOUT, `${up}\x1b[J${text}`);
    },
  };
}

/** Broken between words to fit a terminal; colours take no room. `indent` stands before each line, the first too. */
export function wrapped(text: string, indent = ""): string {
  const width = (line: string): number => line.replace(COLOUR, "").length;
  const [first = "", ...words] = text.split(" ");
  let lines: readonly string[] = [indent + first];
  for (const word of words) {
    const longer = `${lines.at(-1) ?? ""} ${word}`;
    lines = width(longer) <= COLUMNS ? [...lines.slice(0, -1), longer] : [...lines, indent + word];
  }
  return lines.join("\n");
}

/** As much of a line as fits; colours take no room. */
function cut(line: string, columns: number): string {
  if (line.replace(COLOUR, "").length <= columns) return line;
  let room = columns - 1;
  const parts = line.split(BEFORE_COLOUR).map((part) => {
    const [colour = ""] = part.match(COLOUR) ?? [];
    const text = part.slice(colour.length, colour.length + room);
    room -= text.length;
    return colour + text;
  });
  return `${parts.join("")}…`;
}

/** Writes all of it, or returns the code of the error that stopped it. Bounded. */
function write(fd: number, text: string): string | undefined {
  let rest = Buffer.from(text);
  for (let tries = 0; rest.length > 0 && tries < TRIES_MAX; tries++) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EAGAIN") return code;
      // Somebody made it non-blocking, and its reader is slow.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TRY_EVERY_MS);
    }
  }
  return undefined;
}
