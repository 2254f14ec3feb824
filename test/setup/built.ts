/** Builds dist/ once before the tests that run the package as its users do. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export default function setup(): void {
  if (process.env["QUORUM_LOCK_BUILT"] === "1") return;
  execFileSync(process.execPath, [fileURLToPath(new URL("../../scripts/build.mjs", import.meta.url))], {
    stdio: "inherit",
  });
  process.env["QUORUM_LOCK_BUILT"] = "1";
}
