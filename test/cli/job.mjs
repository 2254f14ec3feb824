// A command for `quorum-lock run` that proves how long it lived: it appends a line with its pid and the monotonic clock every few milliseconds.
//
//   node job.mjs BEATS [ignore-term] [for=MS] [grandchild | grandchild-in-own-group] [exit=CODE]
//
// It prints each signal that it gets. SIGTERM and its like end it with 40 unless told otherwise; SIGUSR2 ends it with CODE. A grandchild ignores SIGTERM and all the signals of a terminal. Everything ends by itself after a minute.
// @ts-check
import { spawn } from "node:child_process";
import { openSync, writeSync } from "node:fs";

const [beats = "", ...words] = process.argv.slice(2);
const has = (/** @type {string} */ word) => words.includes(word);
const value = (/** @type {string} */ name, /** @type {number} */ otherwise) =>
  Number(words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise);

const file = openSync(beats, "a");
const beat = () =>
  writeSync(
    file,
    `${process.pid} ${Number(process.hrtime.bigint()) / 1e6} ${process.env["QUORUM_LOCK_TOKEN"]}\n`,
  );
for (const signal of /** @type {const} */ ([
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
])) {
  process.on(signal, () => {
    process.stdout.write(`${signal}\n`);
    if (signal === "SIGUSR2") process.exit(value("exit", 0));
    if (!has("ignore-term") && signal !== "SIGUSR1") process.exit(40);
  });
}

if (has("grandchild") || has("grandchild-in-own-group")) {
  const grandchild = [process.execPath, process.argv[1] ?? "", beats, "ignore-term"];
  // GNU timeout puts itself and what it runs into a process group of their own.
  const argv = has("grandchild-in-own-group") ? ["timeout", "60", ...grandchild] : grandchild;
  spawn(argv[0] ?? "", argv.slice(1), { stdio: ["ignore", "ignore", "inherit"] }).unref();
}
beat();
setInterval(beat, 5);
setTimeout(() => process.exit(value("exit", 0)), value("for", 60_000));
