/** The library under test: what `npm run build` made, as its users get it. */

/** A module of dist/, by its path there. */
export async function library<Module>(path: string): Promise<Module> {
  const dist = process.env["QUORUM_LOCK_DIST"];
  if (dist === undefined)
    throw new Error("run it with `npm run chaos`, which says where the built library is");
  return (await import(new URL(path, dist).href)) as Module;
}
