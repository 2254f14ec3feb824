// `quorum-lock demo`.
import { expect } from "vitest";
import { waitUntil } from "../servers/wait-until.ts";
import { monotonicMs, test } from "./running-cli.ts";

test("tells all steps with the library's own figures, and exits 0", async ({ cli }) => {
  const startedMs = monotonicMs();
  const run = cli(["demo", "--fast"]);
  expect([await run.exited, run.stderr()]).toEqual([0, ""]);
  expect(monotonicMs() - startedMs).toBeLessThan(10_000);
  const text = run.stdout();
  const titles = text.split("\n").filter((line) => /^\d\. /.test(line));
  expect(titles.map((title) => title.replace(/after \S+/, "after …"))).toEqual([
    "1. Ada asks all five and gets the lock",
    "2. Two of the five backends are killed: red and green",
    "3. Ada's process is paused",
    "4. Ben gets the lock from the three that are left, after …",
    "5. Ada wakes up in the middle of her work and writes: refused",
  ]);
  const [, adas = ""] = /Her token is (\d+)/.exec(text) ?? [];
  const [, bens = ""] = /His token is (\d+)/.exec(text) ?? [];
  expect(BigInt(bens) > BigInt(adas)).toBe(true);
  // Broken into lines wherever they end.
  expect(text.replace(/\s+/g, " ")).toContain(
    `token ${adas} of "stock:shoes" is stale, the resource has seen token ${bens}`,
  );
  expect(text).toMatch(/Votes: red dead, green dead, blue yes, white yes, black yes\./);
  expect(text).toMatch(/docs\/guarantees\.md/);
  expect(text.split("\n").filter((line) => line.length > 80)).toEqual([]);
  // oxlint-disable-next-line no-control-regex -- there must be none where no terminal is
  expect(text).not.toMatch(/\x1b/);
});

test("ends with 130 and one sentence after Ctrl-C", async ({ cli }) => {
  const run = cli(["demo"]);
  await waitUntil({ what: "the first step", timeoutMs: 10_000 }, async () => run.stdout().includes("1. Ada"));
  const askedMs = monotonicMs();
  run.signal("SIGINT");
  expect(await run.exited).toBe(130);
  expect(monotonicMs() - askedMs).toBeLessThan(1_000);
  expect(run.stdout()).toMatch(/\nStopped\. Nothing is left behind.*\n$/);
  expect(run.stderr()).toBe("");
});
