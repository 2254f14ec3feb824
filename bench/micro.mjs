/** The pure parts alone, with the benchmark package: what a vote, a verdict and a plan cost beside a system call. */
import Benchmark from "benchmark";
import { castExtend, extensionVerdict, startExtension } from "../dist/engine/extension.js";
import { castVote, startRound, verdict } from "../dist/engine/round.js";
import { instant } from "../dist/engine/time.js";

const NOW = instant(0);
const END = instant(10_000);
const GRANTED = { kind: "granted", fence: 1_795_000_000_000_000n };

function round(n) {
  let state = startRound(n, Math.floor(n / 2) + 1, END);
  for (let i = 0; i < n; i++) {
    state = castVote(state, i, GRANTED);
    verdict(state, NOW);
  }
  return state;
}

function extension(n) {
  let state = startExtension(n, Math.floor(n / 2) + 1, END);
  for (let i = 0; i < n; i++) {
    state = castExtend(state, i, "extended");
    extensionVerdict(state, NOW);
  }
  return state;
}

/** Runs the suite; resolves to a row per case: name, microseconds, relative margin of error in percent. */
export function micro({ seconds }) {
  return new Promise((resolve) => {
    const suite = new Benchmark.Suite("engine", {}, {});
    const options = { maxTime: seconds };
    suite
      .add("a won round of 3", () => round(3), options)
      .add("a won round of 5", () => round(5), options)
      .add("an extension of 3", () => extension(3), options)
      .add("an extension of 5", () => extension(5), options)
      .on("complete", function complete() {
        resolve(
          Array.from(this, ({ name, stats }) => ({ name, micros: stats.mean * 1e6, margin: stats.rme })),
        );
      })
      .run({ async: true });
  });
}
