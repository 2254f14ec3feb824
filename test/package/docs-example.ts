/** The first example of an adapter's page, run as a stranger would: in a project of its own, with only its addresses changed. */
import { readFileSync } from "node:fs";
import { install, root } from "./installed.ts";

export interface DocsExample {
  /** From the top of the repository. */
  readonly page: string;
  /** What the example imports beside this package. */
  readonly packages: readonly string[];
  /** Replaces each address in turn, as the pattern finds them. */
  readonly addresses: RegExp;
  readonly by: readonly string[];
}

/** Returns what it printed. Rejects when it fails, or when it has not as many addresses as there are to replace. */
export async function runDocsExample({ page, packages, addresses, by }: DocsExample): Promise<string> {
  const [, code = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(`${root}${page}`, "utf8")) ?? [];
  const left = [...by];
  const here = code.replaceAll(addresses, () => left.shift() ?? "no address is left");
  if (left.length > 0 || here.includes("no address is left")) {
    throw new Error(`${page} has not ${by.length} addresses:\n${here}`);
  }
  const project = await install(packages);
  try {
    await project.write("example.mjs", here);
    return await project.run(process.execPath, ["example.mjs"]);
  } finally {
    await project.remove();
  }
}
