// What the command line says to wrong input, and its help.
import { expect } from "vitest";
import { EXIT, EXIT_RULES, signalExitCode } from "../../src/cli/exit-codes.ts";
import { test } from "./running-cli.ts";

const RUN = ["run", "--backend", "redis://127.0.0.1:1", "--key", "k"];

const WRONG: readonly (readonly [args: readonly string[], code: number, line: RegExp])[] = [
  [[], 64, /^no command given: use demo, run, inspect, .* \(see quorum-lock --help\)$/],
  [["rn"], 64, /^unknown command rn; did you mean run\?/],
  [["--hlep"], 64, /^unknown option --hlep; did you mean --help\?/],
  [["toString"], 64, /^unknown command toString \(see/],
  [["demo", "--fsat"], 64, /^unknown option --fsat; did you mean --fast\? \(see quorum-lock demo --help\)$/],
  [["demo", "extra"], 64, /^unexpected argument "extra"/],
  [["run", "--", "true"], 64, /^option --backend is missing/],
  [["run", "--backend", "redis://127.0.0.1:1", "--", "true"], 64, /^option --key is missing/],
  [[...RUN], 64, /^the command is missing: write -- and then the command/],
  [[...RUN, "--"], 64, /^the command is missing/],
  [[...RUN, "true"], 64, /^unexpected argument "true"/],
  [[...RUN, "--", "-x"], 64, /^the command must not begin with a dash; got "-x"/],
  [[...RUN, "--tll", "3s", "--", "true"], 64, /^unknown option --tll; did you mean --ttl\?/],
  [[...RUN, "--ttl", "--", "true"], 64, /^option --ttl needs a value/],
  [[...RUN, "--key", "b", "--", "true"], 64, /^option --key is given 2 times; once is enough/],
  [
    ["run", "--backend", "redis://127.0.0.1:1", "--key=", "--", "true"],
    64,
    /^option --key must be .*at least one character; got ""$/,
  ],
  [
    [...RUN, "--ttl", "5", "--", "true"],
    64,
    /^option --ttl must be a duration with a unit, such as .*; got "5"$/,
  ],
  [[...RUN, "--ttl", "0", "--", "true"], 64, /^option --ttl must be from 1s to 1m \(--max-ttl\); got "0"$/],
  [[...RUN, "--ttl", "2m", "--", "true"], 64, /^option --ttl must be from 1s to 1m \(--max-ttl\); got "2m"$/],
  [[...RUN, "--wait=-1s", "--", "true"], 64, /^option --wait must be a duration .*; got "-1s"$/],
  [
    [...RUN, "--clock-skew", "2m", "--", "true"],
    64,
    /^option --clock-skew must be from 0ms to .*\(below --max-ttl\); got "2m"$/,
  ],
  [
    [...RUN, "--quorum", "2", "--", "true"],
    64,
    /^option --quorum must be a majority of the 1 backends: .*; got "2"$/,
  ],
  [
    [...RUN, "--restart-guard", "on", "--", "true"],
    64,
    /^option --restart-guard must be one of auto, strict, off; got "on"$/,
  ],
  [
    [...RUN, "--log-level", "loud", "--", "true"],
    64,
    /^option --log-level must be one of debug, info, warn, error; got "loud"$/,
  ],
  [
    [...RUN, "--kill-grace", "20s", "--", "true"],
    64,
    /^option --kill-grace must be at most 16\.8s with --ttl 30s; got 20s\. Of 29\.7s of validity 9\.9s pass before .*: use a longer --ttl/,
  ],
  [
    [...RUN, "--ttl", "1s", "--kill-grace", "400ms", "--", "true"],
    64,
    /^option --kill-grace must be at most 358ms with --ttl 1s/,
  ],
  [
    ["run", "--backend", "memory:", "--key", "k", "--", "true"],
    64,
    /^option --backend must be a server.*"memory:".*quorum-lock demo/,
  ],
  [
    ["run", "--backend", "127.0.0.1:6379", "--key", "k", "--", "true"],
    64,
    /^option --backend must be .*redis:\/\//,
  ],
  [
    [...RUN, "--backend", "redis://127.0.0.1:1", "--", "true"],
    64,
    /^backends 127\.0\.0\.1:1 and 127\.0\.0\.1:1 are the same by name;.*give each --backend its own server$/,
  ],
  [
    [...RUN, "--", "no-such-command"],
    127,
    /^command "no-such-command" was not found in any folder of PATH; nothing was locked$/,
  ],
  [
    [...RUN, "--", "./no-such-command"],
    127,
    /^command "\.\/no-such-command" was not found; nothing was locked$/,
  ],
  [
    [...RUN, "--", "/etc/passwd"],
    126,
    /^command "\/etc\/passwd" has no permission to be executed \(chmod \+x\)/,
  ],
  [[...RUN, "--", "/tmp"], 126, /^command "\/tmp" is no file/],
];

for (const [args, code, line] of WRONG) {
  test.concurrent(
    `says in one line what is wrong with: quorum-lock ${args.join(" ")}`,
    async ({ cli, expect }) => {
      const run = cli(args);
      expect([await run.exited, run.stdout()]).toEqual([code, ""]);
      expect(run.stderr()).toMatch(/^quorum-lock: [^\n]+\n$/);
      expect(run.stderr().replace("quorum-lock: ", "").trimEnd()).toMatch(line);
    },
  );
}

for (const args of [
  ["--help"],
  ["run", "--help"],
  ["demo", "-h"],
  ["help", "run"],
  ["run", "--key", "k", "--help"],
]) {
  test.concurrent(
    `fits its help on a screen of 80 x 24: quorum-lock ${args.join(" ")}`,
    async ({ cli, expect }) => {
      const run = cli(args);
      expect([await run.exited, run.stderr()]).toEqual([0, ""]);
      const lines = run.stdout().trimEnd().split("\n");
      expect(lines.length).toBeGreaterThan(8);
      // One line is left for the prompt.
      expect(lines.length).toBeLessThanOrEqual(23);
      expect(lines.filter((each) => each.length > 80)).toEqual([]);
    },
  );
}

test("says its version", async ({ cli }) => {
  const run = cli(["--version"]);
  expect([await run.exited, run.stderr()]).toEqual([0, ""]);
  expect(run.stdout()).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("names every exit code of its own in the help", async ({ cli }) => {
  const [run, demo] = [cli(["run", "--help"]), cli(["demo", "--help"])];
  await Promise.all([run.exited, demo.exited]);
  const { ok, problem, ...ofRun } = EXIT;
  for (const { code } of Object.values(ofRun)) expect(run.stdout()).toMatch(new RegExp(`\\b${code}\\b`));
  for (const { code } of [ok, problem]) expect(demo.stdout()).toMatch(new RegExp(`\\b${code}\\b`));
});

test("has a table of exit codes in which each stands once", () => {
  const codes = Object.values(EXIT).map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
  expect([...Object.values(EXIT), ...EXIT_RULES].every(({ meaning }) => meaning.length > 0)).toBe(true);
  expect([signalExitCode("SIGINT"), signalExitCode("SIGTERM"), signalExitCode("SIGKILL")]).toEqual([
    130, 143, 137,
  ]);
});
