/** What `--json` prints; every field is described in `json-fields.ts`. */
import { print } from "./terminal.js";

/** Prints one object, with line breaks for people who look at it too. */
export function printJson(value: object): void {
  print(JSON.stringify(value, null, 2));
}

/** Prints one object on one line. */
export function printJsonLine(value: object): void {
  print(JSON.stringify(value));
}

/** A duration as JSON has it. */
export function wholeMs(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms);
}

/** A token as JSON has it: text, since programs that read it as a number would round it. */
export function tokenText(token: bigint | undefined): string | null {
  return token === undefined ? null : token.toString();
}
