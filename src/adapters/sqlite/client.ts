/** The part of better-sqlite3, libsql and node:sqlite that the adapter uses. */
import { InvalidOptionError } from "../../errors.js";

/** A column. Bytes are never read, since clients differ in what they are; they are asked for in hexadecimal digits. */
export type Column = string | number | null;

/** A row by column name. */
export type Row = Readonly<Record<string, Column>>;

/** A prepared statement. */
export interface SqliteStatement {
  // Two values at least: libsql 0.5 takes a lone Buffer for an object of named values, and ends the process.
  all(first: Value, second: Value, ...more: Value[]): unknown[];
  run(first: Value, second: Value, ...more: Value[]): unknown;
}

/** What a statement takes. */
export type Value = Uint8Array | string | number | null;

/** An open database of better-sqlite3, libsql or node:sqlite (`DatabaseSync`). Structural, so that no client is imported. */
export interface SqliteLike {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the clients take different values
  prepare(sql: string): { all(...values: any[]): unknown[]; run(...values: any[]): unknown };
  exec(sql: string): unknown;
  close(): unknown;
}

/** Where a caller's database lies, and how to open it anew. */
export interface SqliteFile {
  readonly path: string;
  readonly open: () => SqliteLike;
}

/** Throws InvalidOptionError for what is no open database in a file. */
export function fileOf(client: SqliteLike): SqliteFile {
  const rule = "an open database of better-sqlite3, libsql or node:sqlite";
  if (typeof client !== "object" || client === null || typeof client.prepare !== "function") {
    throw new InvalidOptionError("sqlite(client)", rule, client);
  }
  let path: unknown;
  try {
    const main = client.prepare("PRAGMA database_list").all() as { name?: unknown; file?: unknown }[];
    path = main.find(({ name }) => name === "main")?.file;
  } catch (error) {
    throw new InvalidOptionError("sqlite(client)", `${rule} (${String(error)})`, client);
  }
  if (typeof path !== "string" || path === "") {
    throw new InvalidOptionError(
      "sqlite(client)",
      "a database in a file, which other processes can open",
      client,
    );
  }
  const file = path;
  const Database = client.constructor as new (path: string) => SqliteLike;
  return { path: file, open: () => new Database(file) };
}
