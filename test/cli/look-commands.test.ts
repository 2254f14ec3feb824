// inspect, list and watch, as whoever is on call uses them, on real servers.
import { expect, vi } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { OTHER, useDeployment } from "./deployment.ts";
import { expectDocumented } from "./matches-fields.ts";
import { test } from "./running-cli.ts";

interface PrintedReport {
  readonly key: string;
  readonly state: string;
  readonly owner: string | null;
  readonly token: string | null;
  readonly remainingMs: number | null;
  readonly backends: readonly { readonly kind: string; readonly role: string | null }[];
}

// The machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

await describeWithServer("redis-7", "inspect, list and watch", (server) => {
  const { servers, backends, hold, leave } = useDeployment(server);

  test("inspect says who holds a lock, on which servers and for how long", async ({ cli }) => {
    const holder = await hold(cli, "held");
    const run = cli(["inspect", "held", ...backends]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    expect(run.stdout().replace(/\s+/g, " ")).toMatch(
      /^held is held: owner [0-9a-f]{8} has it on 3 of 3 backends, token \d{16}; it ends in 1\d(\.\d)?s unless it is extended a the holder's, owner [0-9a-f]{8}, granted \d{16}, \S+ left b the holder's/,
    );
    const json = cli(["inspect", "--json", "held", ...backends]);
    expect(await json.exited).toBe(0);
    const report = JSON.parse(json.stdout()) as PrintedReport;
    expectDocumented("inspect", report);
    expect(report).toMatchObject({ key: "held", state: "held", quorum: 2 });
    expect(report.backends.map(({ role }) => role)).toEqual(["holder", "holder", "holder"]);
    holder.signal("SIGTERM");
    await holder.exited;
    const after = cli(["inspect", "held", ...backends]);
    expect(await after.exited).toBe(0);
    expect(after.stdout()).toMatch(
      /^held is free: nobody has it; the last token was \d{16}\n {2}a {2}free\n/,
    );
  });

  test("inspect calls anything less than a held lock what it is", async ({ cli }) => {
    await leave("orphaned", [1]);
    await leave("torn", [0], "a".repeat(32));
    await leave("torn", [1], "b".repeat(32));
    await hold(cli, "haunted");
    await servers[2]?.cli("SET", "{ql:haunted}:l", `${OTHER}|1795500000000000`, "PX", 60_000);
    const texts = await Promise.all(
      ["orphaned", "torn", "haunted", "never"].map(async (key) => {
        const run = cli(["inspect", key, ...backends]);
        expect([await run.exited, run.stderr()]).toEqual([0, ""]);
        return run.stdout().replace(/\s+/g, " ");
      }),
    );
    expect(texts[0]).toMatch(
      /^orphaned is an orphan: owner \S+ has it on 1 of 3 backends, too few to hold it \(2 needed\): left over from a holder or attempt that died; it ends by itself in \S+s a free b an orphan's, owner .* c free/,
    );
    expect(texts[1]).toMatch(
      /^torn is contended: several owners have it, none on the 2 backends that are needed; .* a a rival's/,
    );
    expect(texts[2]).toMatch(
      /^haunted is held: .* on 2 of 3 .* c a ghost's, owner .* A ghost was stored too late to count, or is left over; it ends by itself\./,
    );
    expect(texts[3]).toMatch(/^never is free: nobody has it, and it was not used lately/);
  });

  test("list shows all locks with their state, those of a prefix alone, and its table is plain text in a pipe", async ({
    cli,
  }) => {
    await leave("list:orphan", [0]);
    await leave("list:with blank\u001b[31m", [0, 1]);
    await hold(cli, "list:held");
    const run = cli(["list", "list:", ...backends]);
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    // oxlint-disable-next-line no-control-regex -- there must be none, also none that a key brought along
    expect(run.stdout()).not.toMatch(/\x1b/);
    const rows = run.stdout().trimEnd().split("\n");
    expect(rows.map((row) => row.replace(/ {2,}.*/, ""))).toEqual([
      "list:held",
      "list:orphan",
      String.raw`"list:with blank\u001b[31m"`,
    ]);
    expect(rows[0]).toMatch(/ {2}held {4}\S+s {2,}on 3 of 3, owner [0-9a-f]{8}, token \d{16}$/);
    expect(rows[1]).toMatch(/ {2}orphan {2}\S+s {2,}on 1 of 3, owner [0-9a-f]{8}, 2 needed$/);
    const none = cli(["list", "nothing:", ...backends]);
    expect([await none.exited, none.stdout(), none.stderr()]).toEqual([0, "", ""]);
    const json = cli(["list", "--json", "list:", ...backends]);
    expect(await json.exited).toBe(0);
    const listed = JSON.parse(json.stdout()) as {
      readonly keys: readonly PrintedReport[];
      readonly complete: boolean;
    };
    expectDocumented("list", listed);
    expect([listed.keys.map(({ state }) => state), listed.complete]).toEqual([
      ["held", "orphan", "held"],
      true,
    ]);
    const cut = cli(["list", "list:", "--limit", "2", ...backends]);
    expect(await cut.exited).toBe(0);
    expect(cut.stdout().trimEnd().split("\n")).toHaveLength(2);
    expect(cut.stderr()).toMatch(
      /^quorum-lock: there are more than 2 locks; the rest is left out: use --limit, or a longer PREFIX\n$/,
    );
  });

  test("watch prints one line for each change of the votes, and ends with Ctrl-C", async ({ cli }) => {
    const [words, json] = [
      cli(["watch", "watched", "--every", "100ms", ...backends]),
      cli(["watch", "watched", "--every", "100ms", "--json", ...backends]),
    ];
    const lines = (): string[] => words.stdout().split("\n").slice(0, -1);
    await waitUntil({ what: "the first line", timeoutMs: 10_000 }, async () => lines().length === 1);
    const holder = await hold(cli, "watched", "3s");
    // A look may come between two of the three grants.
    await waitUntil({ what: "a lock held on all", timeoutMs: 5_000 }, async () =>
      / held (?!.* free)/.test(lines().at(-1) ?? ""),
    );
    // Extended several times meanwhile, which is no change of a vote.
    const count = lines().length;
    const since = performance.now();
    await waitUntil(
      { what: "some extensions", timeoutMs: 5_000 },
      async () => performance.now() - since > 1_500,
    );
    expect(lines().length).toBe(count);
    holder.signal("SIGTERM");
    await holder.exited;
    await waitUntil({ what: "a free lock", timeoutMs: 5_000 }, async () =>
      / free: /.test(lines().at(-1) ?? ""),
    );
    await waitUntil({ what: "the same as JSON", timeoutMs: 5_000 }, async () =>
      /"state":"free"[^\n]*\n$/.test(json.stdout()),
    );
    words.signal("SIGINT");
    json.signal("SIGINT");
    expect([await words.exited, words.stderr()]).toEqual([130, ""]);
    expect([await json.exited, json.stderr()]).toEqual([130, ""]);
    expect(lines()[0]).toMatch(/^\d{4}-\d\d-\d\dT\S+Z watched free: a free, b free, c free$/);
    expect(lines().join("\n")).toMatch(
      / watched held owner (\S{8}) token \d{16}: a holder \1, b holder \1, c holder \1/,
    );
    const objects = json
      .stdout()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as PrintedReport);
    for (const each of objects) expectDocumented("watch", each);
    expect(objects[0]?.state).toBe("free");
    expect(objects.some(({ state }) => state === "held")).toBe(true);
    expect(objects.at(-1)?.state).toBe("free");
  });
});
