/** What a failed statement of SQLite means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** Result codes; what failed with one of them was rolled back. */
const RESULTS: ReadonlyMap<number, { readonly code: BackendErrorCode; readonly what: string }> = new Map([
  [3, { code: "BACKEND_NO_PERMISSION", what: "its file may not be used" }],
  [5, { code: "BACKEND_BUSY", what: "other processes keep its file locked" }],
  [6, { code: "BACKEND_BUSY", what: "its table is locked" }],
  [7, { code: "BACKEND_OUT_OF_MEMORY", what: "no memory is left" }],
  [8, { code: "BACKEND_READONLY", what: "its file is read-only" }],
  [13, { code: "BACKEND_OUT_OF_MEMORY", what: "its disk is full" }],
  [14, { code: "BACKEND_NOT_CONNECTED", what: "its file cannot be opened" }],
  [23, { code: "BACKEND_NO_PERMISSION", what: "its file may not be used" }],
  [26, { code: "BACKEND_WRONG_TYPE", what: "its file is no database" }],
]);
const NAMES: Readonly<Record<string, number>> = {
  PERM: 3,
  BUSY: 5,
  LOCKED: 6,
  NOMEM: 7,
  READONLY: 8,
  FULL: 13,
  CANTOPEN: 14,
  AUTH: 23,
  NOTADB: 26,
};

/** The result code, without its extension; undefined for an error of the client. */
function resultOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  // node:sqlite has a number, the others "SQLITE_BUSY_SNAPSHOT".
  for (const field of ["errcode", "rawCode"]) {
    const number: unknown = Reflect.get(error, field);
    if (typeof number === "number") return number & 255;
  }
  const code: unknown = Reflect.get(error, "code");
  const name = typeof code === "string" ? /^SQLITE_([A-Z]+)/.exec(code)?.[1] : undefined;
  if (name !== undefined) return NAMES[name];
  // libsql gives no code where it could not open the file.
  const opening = /Unable to open.*: (\d+)/.exec(error.message)?.[1];
  return opening === undefined ? undefined : Number(opening);
}

/** Whether somebody else is writing, so that it may be tried again. */
export function isBusy(error: unknown): boolean {
  const result = resultOf(error);
  return result === 5 || result === 6;
}

/** Whether the table is gone: dropped, or in a file that was replaced. */
export function isNoTable(error: unknown): boolean {
  return error instanceof Error && error.message.includes("no such table");
}

/** The typed form of what a statement failed with. */
export function faultOf(backend: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const known = RESULTS.get(resultOf(error) ?? -1);
  if (known !== undefined) {
    return new BackendError(known.code, { backend, what: `${known.what} (${message})` }, error);
  }
  if (/no such column|has no column named|values for \d+ columns/.test(message)) {
    return new BackendError(
      "BACKEND_WRONG_TYPE",
      { backend, what: `its table is not one of the lock (${message})` },
      error,
    );
  }
  if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EACCES")) {
    return new BackendError(
      "BACKEND_NOT_CONNECTED",
      { backend, what: `its file cannot be opened (${message})` },
      error,
    );
  }
  return new BackendError("BACKEND_REFUSED", { backend, what: `it refused: ${message}` }, error);
}
