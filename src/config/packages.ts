/** Optional packages, loaded when the configuration asks for them. */
import { MissingPackageError } from "../errors.js";

/** Loads one. Rejects with a `MissingPackageError` where it is not installed. `what` begins the sentence. */
export async function loadPackage<T>(name: string, what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw isMissing(error) ? new MissingPackageError([name], what, { cause: error }) : error;
  }
}

/** Whether a module was not found. */
export function isMissing(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
}
