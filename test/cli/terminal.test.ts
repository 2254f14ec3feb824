// The commands in a real terminal: what is asked, what moves, what is coloured, and that nothing of it is in a pipe.
import { expect, vi } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { useDeployment } from "./deployment.ts";
import { cliInTerminal } from "./in-terminal.ts";
import { test } from "./running-cli.ts";

// The machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

// oxlint-disable-next-line no-control-regex -- what colours are made of
const COLOUR = /\x1b\[(1|2|31|32|33)m/;
// oxlint-disable-next-line no-control-regex
const CODE = /\x1b/;

await describeWithServer("redis-7", "the command line in a terminal", (server) => {
  const { servers, backends, leave } = useDeployment(server);
  const stored = (key: string): Promise<unknown> | undefined => servers[0]?.cli("EXISTS", `{ql:${key}}:l`);

  test("release asks, takes anything but yes for no, and says that nothing was changed", async () => {
    await leave("asked", [0, 1, 2]);
    for (const answer of ["n\n", "\n", "yo\n", "\u0004"]) {
      const terminal = cliInTerminal(["release", "asked", "--force", ...backends]);
      await terminal.shows(/This does not stop the holder: .*\n.*\nRelease it by force\? \[y\/N\] $/);
      terminal.type(answer);
      expect(await terminal.exited).toBe(1);
      expect(terminal.text()).toMatch(/not confirmed, nothing was changed; answer y, or add --yes\n/);
      expect(await stored("asked")).toBe(1);
    }
    const terminal = cliInTerminal(["release", "asked", "--force", ...backends]);
    await terminal.shows(/\[y\/N\] $/);
    terminal.type("y\n");
    expect(await terminal.exited).toBe(0);
    expect(terminal.text()).toMatch(/asked is released by force, 3 of 3 backends confirm/);
    expect(await stored("asked")).toBe(0);
  });

  test("Ctrl-C at a question changes nothing", async () => {
    await leave("interrupted", [0, 1, 2]);
    const terminal = cliInTerminal(["release", "interrupted", "--force", ...backends]);
    await terminal.shows(/\[y\/N\] $/);
    terminal.type("\u0003");
    expect(await terminal.exited).toBe(130);
    expect(await stored("interrupted")).toBe(1);
  });

  test("check turns a spinner until it has a verdict, and leaves nothing of it on the screen", async () => {
    const terminal = cliInTerminal(["check", ...backends]);
    await terminal.shows(/[-|/\\] looking at 3 servers/);
    expect(await terminal.exited).toBe(0);
    // oxlint-disable-next-line no-control-regex -- it goes to the start of the line and clears it
    expect(terminal.seen()).toMatch(/looking at 3 servers\r\x1b\[K/);
    expect(terminal.seen()).toMatch(COLOUR);
  });

  test("watch draws the same lines anew, without scrolling, and ends with Ctrl-C", async () => {
    const terminal = cliInTerminal(["watch", "drawn", "--every", "100ms", ...backends]);
    await terminal.shows(
      /drawn is free: .*\n {2}a {2}free\n {2}b {2}free\n {2}c {2}free\n\d\d:\d\d:\d\d, Ctrl-C ends it\n/,
    );
    await leave("drawn", [0, 1]);
    await terminal.shows(/drawn is held: /);
    terminal.type("\u0003");
    expect(await terminal.exited).toBe(130);
    // Each time it goes up as many lines as it drew before.
    // oxlint-disable-next-line no-control-regex -- up, and clear what is below
    const [first = "", ...others] = terminal.seen().split(/(?=\u001b\[\d+A\u001b\[J)/);
    let height = first.split("\n").length - 1;
    expect(others.length).toBeGreaterThan(0);
    for (const frame of others) {
      expect(Number(/\[(\d+)A/.exec(frame)?.[1])).toBe(height);
      height = frame.split("\n").length - 1;
    }
  });

  test("has colours, but none with NO_COLOR, and neither colours nor motion with TERM=dumb", async () => {
    const coloured = cliInTerminal(["inspect", "k", ...backends]);
    expect(await coloured.exited).toBe(0);
    expect(coloured.seen()).toMatch(COLOUR);
    const plain = cliInTerminal(["inspect", "k", ...backends], { env: { NO_COLOR: "1" } });
    expect(await plain.exited).toBe(0);
    expect(plain.seen()).not.toMatch(COLOUR);
    const dumb = cliInTerminal(["check", "--read-only", ...backends], { env: { TERM: "dumb" } });
    expect(await dumb.exited).toBe(0);
    expect(dumb.seen()).not.toMatch(CODE);
    expect(dumb.seen()).not.toMatch(/looking at/);
  });

  test("breaks its lines between words, problems too", async () => {
    const terminal = cliInTerminal(["inspect", "k", "--backend", `redis://127.0.0.1:${servers[0]?.port}`]);
    expect(await terminal.exited).toBe(64);
    const lines = terminal.text().trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });

  test("shows none of that in a pipe", async ({ cli }) => {
    for (const args of [["check"], ["inspect", "k"], ["list"]]) {
      const run = cli([...args, ...backends], { env: { TERM: "xterm-256color" } });
      expect(await run.exited).toBe(0);
      expect(run.stdout()).not.toMatch(CODE);
      expect(run.stderr()).toBe("");
    }
  });
});
