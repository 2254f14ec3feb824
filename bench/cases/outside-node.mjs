/** The same cycles in another language: redsync and rueidislock, where a Go toolchain can fetch and build them; else a line that says so. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { median } from "../measure.mjs";

const run = promisify(execFile);
const FOLDER = fileURLToPath(new URL("../go", import.meta.url));
const BUILD_MS_MAX = 300_000;
/** What each of them locks on: see go/main.go. */
const LIBRARIES = { redsync: "servers", rueidislock: "keys on one server" };

/** @param {import("../plan.mjs").Plan} plan @param {Awaited<ReturnType<import("../servers.mjs").startServers>>} servers */
export async function outsideNode(plan, servers) {
  const scratch = mkdtempSync(join(tmpdir(), "quorum-lock-bench-go-"));
  const program = join(scratch, "cycles");
  try {
    const built = await run("go", ["build", "-o", program, "."], {
      cwd: FOLDER,
      timeout: BUILD_MS_MAX,
    }).catch((error) => error);
    if (built instanceof Error) {
      plan.tell(
        `${Object.keys(LIBRARIES).join(" and ")} are skipped: they need a Go toolchain that can fetch modules (${built.message.split("\n")[0]})`,
      );
      return undefined;
    }
    const rows = [];
    for (const n of plan.sizes) {
      for (const concurrency of plan.concurrencies) {
        for (const [name, on] of Object.entries(LIBRARIES)) {
          const ports = servers.list.slice(0, n).map(({ port }) => port);
          const figures = [concurrency, plan.cyclesAt(concurrency), plan.rounds].map(String);
          const { stdout } = await run(program, [name, ports.join(), ...figures], { timeout: BUILD_MS_MAX });
          const rounds = stdout
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line));
          const of = (field) => median(rounds.map((round) => round[field]));
          const figuresOf = { p50: of("p50"), p99: of("p99"), perSecond: of("perSecond") };
          rows.push({ n, concurrency, name, on, ...figuresOf });
        }
      }
    }
    plan.tell(`${Object.keys(LIBRARIES).join(" and ")}: done`);
    return { rows, versions: versions() };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function versions() {
  const text = readFileSync(join(FOLDER, "go.mod"), "utf8");
  return [...text.matchAll(/^\t(github\.com\/\S+) (v\S+)$/gm)]
    .map(([, name, version]) => `${name} ${version}`)
    .join(", ");
}
