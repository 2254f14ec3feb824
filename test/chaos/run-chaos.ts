/** Runs `npm run chaos` as a user does, for tests. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Verdict } from "./verdict.ts";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));
/** For one run of some seconds, on a machine that is busy with everything else. */
export const TIMEOUT_MS = 240_000;

/** How it ended. */
export interface Ended {
  readonly code: number | null;
  readonly said: string;
  readonly verdict: Verdict;
}

/** A run with a verdict. */
export async function chaos(...words: readonly string[]): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "quorum-lock-chaos-"));
  const json = join(folder, "verdict.json");
  try {
    const args = [join(ROOT, "scripts/chaos.mjs"), "--json", json, ...words];
    const { code, said } = await run(args);
    if (code !== 0 && code !== 1) throw new Error(`it ended with ${code}:\n${said}`);
    return { code, said, verdict: JSON.parse(readFileSync(json, "utf8")) as Verdict };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A run with whatever comes. */
export function run(
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly said: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, timeout: TIMEOUT_MS - 10_000 });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (bytes: Buffer) => (said += String(bytes)));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, said }));
  });
}
