/** Plants a mutant: a copy of the compiled tree with the mutant's text in it, loaded beside the sound one. */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type * as Judge from "./judge.js";
import type { Edit, Mutant } from "./mutants.js";

/** The compiled tree that this file is part of: `src/` and `test/sim/` side by side. */
const BASE = new URL("../../", import.meta.url);

/** The world of the mutant's code. Throws when a replacement does not fit the code exactly once. */
export async function plant(mutant: Mutant): Promise<typeof Judge> {
  const folder = new URL(`../mutants-${process.pid}/${mutant.name.replaceAll(/[^a-z0-9]+/g, "-")}/`, BASE);
  try {
    cpSync(new URL("src/", BASE), new URL("src/", folder), { recursive: true });
    cpSync(new URL("test/sim/", BASE), new URL("test/sim/", folder), { recursive: true });
    for (const edit of mutant.edits) {
      const file = new URL(`${edit.file}.js`, folder);
      writeFileSync(file, edited(readFileSync(file, "utf8"), edit, mutant.name));
    }
    return (await import(new URL("test/sim/judge.js", folder).href)) as typeof Judge;
  } finally {
    rmSync(fileURLToPath(folder), { recursive: true, force: true });
  }
}

function edited(text: string, { file, find, put }: Edit, name: string): string {
  const parts = text.split(find);
  if (parts.length === 2) return parts.join(put);
  const times = parts.length - 1;
  throw new Error(
    `mutant "${name}": its text is in ${file} ${times} times instead of once: ${JSON.stringify(find)}`,
  );
}
