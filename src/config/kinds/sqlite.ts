/** SQLite files, through node:sqlite, libsql or better-sqlite3, whichever is there. */
import type { SqliteLike } from "../../adapters/sqlite.js";
import { MissingPackageError } from "../../errors.js";
import { given, type Kind } from "../kind.js";

/** A database class that all three packages have under names of their own. */
type DatabaseClass = new (path: string) => SqliteLike;

/** `sqlite:path` */
export const sqliteKind: Kind = {
  kind: "sqlite",
  schemes: { sqlite: { tls: false } },
  forms: "sqlite:PATH (the processes of one host)",
  fields: ["name", "table", "synchronous"],
  hosts: "none",
  port: 0,
  pathIs: "file",
  packages: ["libsql", "better-sqlite3"],
  async open({ path = "", fields }) {
    const { sqlite } = await import("../../adapters/sqlite.js");
    const Database = await databaseClass();
    // Only where it lies is read: the adapter opens the file once more.
    const database = new Database(path);
    try {
      const backend = sqlite(database, given(fields, "name", "table", "synchronous"));
      return { backend, close: async () => void database.close() };
    } catch (error) {
      database.close();
      throw error;
    }
  },
};

const LOADERS: readonly (() => Promise<DatabaseClass | undefined>)[] = [
  nodeSqlite,
  () => packaged("libsql"),
  () => packaged("better-sqlite3"),
];

/** The first that can be loaded. Rejects with a `MissingPackageError`. */
async function databaseClass(): Promise<DatabaseClass> {
  const causes: unknown[] = [];
  for (const load of LOADERS) {
    try {
      const found = await load();
      if (found !== undefined) return found;
    } catch (error) {
      // Not installed, or made for another machine.
      causes.push(error);
    }
  }
  const what = `SQLite files need Node 24 or newer (this is ${process.version}), or`;
  throw new MissingPackageError(["libsql", "better-sqlite3"], what, { cause: new AggregateError(causes) });
}

async function packaged(name: "libsql" | "better-sqlite3"): Promise<DatabaseClass> {
  // By a variable, since their types are not installed with them.
  const specifier: string = name;
  return ((await import(specifier)) as { readonly default: DatabaseClass }).default;
}

/** Undefined where this Node has none. */
async function nodeSqlite(): Promise<DatabaseClass | undefined> {
  const { emitWarning } = process;
  // It works the same since Node 22.13; that its interface may change some day is nothing to whoever waits for a lock.
  process.emitWarning = ((warning: string | Error, ...rest: [never]) => {
    if (!/SQLite is an experimental/i.test(String(warning))) emitWarning.call(process, warning, ...rest);
  }) as typeof process.emitWarning;
  try {
    const builtin = process.getBuiltinModule as ((id: string) => object | undefined) | undefined;
    const found = builtin?.("node:sqlite");
    return found === undefined ? undefined : (Reflect.get(found, "DatabaseSync") as DatabaseClass);
  } finally {
    process.emitWarning = emitWarning;
  }
}
