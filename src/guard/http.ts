/** Fencing tokens over HTTP: headers from a lease, and a middleware that refuses requests of stale holders. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { InvalidOptionError, StaleTokenError } from "../errors.js";
import { createHighWaterMarks, guardInProcess } from "./in-process.js";
import { checkLease, KEY_BYTES_MAX, MAX_TOKEN, type GuardedLease, type MarkStore } from "./lease.js";

export type { GuardedLease, MarkStore } from "./lease.js";

/** The headers of a request that writes under a lock. */
export interface FencingHeaders {
  /** The lock's key, percent-encoded as by `encodeURIComponent`. */
  readonly "Fencing-Key": string;
  /** The token in decimal digits. */
  readonly "Fencing-Token": string;
}

/** Options of {@link createHttpGuard}. */
export interface HttpGuardOptions {
  /** Where the highest tokens are kept: {@link memoryMarks}, `postgresMarks`, `mysqlMarks`, `redisMarks` or your own. */
  readonly marks: MarkStore;
  /**
   * The key that protects what a request writes. A request with another `Fencing-Key` is refused with 400: without this, a
   * stale holder that names a key of its own passes. Return undefined where any key will do.
   */
  readonly keyOf?: (request: IncomingMessage) => string | undefined;
  /** Whether a request without the headers is refused (428); if not, it passes, unguarded. Default true. */
  readonly required?: boolean;
}

/** What {@link createHttpGuard} makes. */
export interface HttpGuard {
  /**
   * For `http.createServer` and, as it is, `app.use()` of Express: answers the request itself or calls `next`, with an error
   * when the store of the marks failed. Nothing was checked then, and {@link fencingOf} knows no lease of that request.
   */
  middleware(request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void;
  /** For Fastify: `app.addHook("onRequest", guard.onRequest)`, or the `onRequest` of a route. */
  onRequest(request: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown>;
}

/** The part of a Fastify request that the guard uses. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}

/** The part of a Fastify reply that the guard uses. */
export interface FastifyReplyLike {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(payload: string): unknown;
}

/** The body of a refusal, `application/problem+json` (RFC 9457). Tokens are texts: JSON has no 64-bit numbers. */
export interface FencingProblem {
  readonly type: "about:blank";
  readonly status: 400 | 412 | 428;
  readonly title: string;
  readonly detail: string;
  readonly code: "STALE_TOKEN" | "FENCING_MISSING" | "FENCING_MALFORMED" | "FENCING_WRONG_KEY";
  readonly key?: string;
  readonly token?: string;
  /** The highest token seen. */
  readonly highest?: string;
}

/**
 * The headers that tell a server under which lease a request writes.
 *
 * @example
 * ```ts
 * import { fencingHeaders, type GuardedLease } from "quorum-lock/guard/http";
 *
 * export async function setBalance(url: string, lease: GuardedLease, value: number): Promise<Response> {
 *   return fetch(url, { method: "PUT", headers: { ...fencingHeaders(lease) }, body: String(value) });
 * }
 * ```
 *
 * @throws InvalidKeyError, InvalidOptionError
 */
export function fencingHeaders(lease: GuardedLease): FencingHeaders {
  checkLease(lease);
  return { "Fencing-Key": encodeURIComponent(lease.key), "Fencing-Token": lease.token.toString() };
}

/**
 * Refuses requests of stale holders before they reach a handler: 412 for a stale token, 428 when the headers are missing,
 * 400 when they are malformed or name another key, each with a {@link FencingProblem}. Equal tokens pass.
 *
 * **What it does not promise:** that the handler writes before a newer holder's request does. Between this check and the
 * write lies whatever the handler waits for. Make the write itself with a guard, by the lease that {@link fencingOf}
 * returns, in the same transaction, script or turn; {@link problemOf} turns its refusal into the same answer. The check in
 * front spares the work and knows every token, also where no write follows.
 * Nor does it know who is calling: put it behind authentication, since a forged high token shuts everyone else out.
 *
 * The marks live as long as the store that keeps them: memory dies with the process and is not shared by several. The
 * check costs what the store costs, for every request; figures are in docs/fencing.md.
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { createHttpGuard, fencingOf, memoryMarks } from "quorum-lock/guard/http";
 *
 * const marks = memoryMarks();
 * const guard = createHttpGuard({ marks, keyOf: (request) => `account:${request.url?.slice(1)}` });
 * const balances = new Map<string, string>();
 *
 * export const server = createServer((request, response) => {
 *   guard.middleware(request, response, (error) => {
 *     const lease = fencingOf(request);
 *     if (lease === undefined) response.statusCode = 503; // the store failed with `error`: nothing was checked
 *     else balances.set(lease.key, "100"); // in the same turn as the check of memoryMarks()
 *     response.end(error === undefined ? "" : "try again");
 *   });
 * });
 * ```
 *
 * @throws InvalidOptionError
 */
export function createHttpGuard(options: HttpGuardOptions): HttpGuard {
  const { marks, keyOf, required = true } = options;
  if (typeof marks?.advance !== "function") {
    throw new InvalidOptionError(
      "createHttpGuard({ marks })",
      "a store of marks, such as memoryMarks()",
      marks,
    );
  }
  /** Undefined: passes. Not a promise when the store answers at once, so that nothing comes in between. */
  function check(request: IncomingMessage): FencingProblem | undefined | Promise<FencingProblem | undefined> {
    const read = readHeaders(request);
    if ("code" in read) return read.code === "FENCING_MISSING" && !required ? undefined : read;
    const expected = keyOf?.(request);
    if (expected !== undefined && expected !== read.key) return wrongKey(read, expected);
    try {
      const done = marks.advance(read);
      // Whatever can be waited for: a promise of another kind that is taken for an answer would let everyone pass.
      if (typeof (done as Promise<void> | undefined)?.then === "function") {
        return Promise.resolve(done).then(() => pass(request, read), refusalOrThrow);
      }
    } catch (error) {
      return refusalOrThrow(error);
    }
    return pass(request, read);
  }
  return {
    middleware(request, response, next): void {
      const settle = (problem: FencingProblem | undefined): void => {
        if (problem === undefined) next();
        else answer(response, problem);
      };
      let problem: ReturnType<typeof check>;
      try {
        problem = check(request);
      } catch (error) {
        next(error);
        return;
      }
      // Not `.then(settle).catch(next)`: what a handler throws is not a failure of the check.
      if (problem instanceof Promise) problem.then(settle, next);
      else settle(problem);
    },

    async onRequest(request, reply): Promise<unknown> {
      const problem = await check(request.raw);
      if (problem === undefined) return undefined;
      reply.code(problem.status);
      reply.header("content-type", PROBLEM_JSON);
      return reply.send(JSON.stringify(problem));
    },
  };
}

/** The lease that a request passed with; undefined when it came without, or through no guard. */
export function fencingOf(request: IncomingMessage | FastifyRequestLike): GuardedLease | undefined {
  return passed.get("raw" in request ? request.raw : request);
}

/** The answer to give when a guard inside a handler refused; undefined for any other error. */
export function problemOf(error: unknown): FencingProblem | undefined {
  if (!(error instanceof StaleTokenError)) return undefined;
  return {
    type: "about:blank",
    status: 412,
    title: "Stale fencing token",
    detail: "a newer holder of the lock has written; this one must stop",
    code: "STALE_TOKEN",
    key: error.key,
    token: error.token.toString(),
    highest: error.highest.toString(),
  };
}

/** Sends a refusal. With Express: `app.use((error, request, response, next) => …)` and {@link problemOf}. */
export function answer(response: ServerResponse, problem: FencingProblem): void {
  response.statusCode = problem.status;
  response.setHeader("content-type", PROBLEM_JSON);
  response.end(JSON.stringify(problem));
}

/** Marks in this process: checked in the same turn, gone with the process, not shared with others. */
export function memoryMarks(): MarkStore {
  const marks = createHighWaterMarks();
  return { advance: (lease) => guardInProcess(marks, lease) };
}

const PROBLEM_JSON = "application/problem+json";

/** Node's own request, by which Express and Fastify know it too. */
const passed = new WeakMap<IncomingMessage, GuardedLease>();

function pass(request: IncomingMessage, lease: GuardedLease): undefined {
  passed.set(request, lease);
}

function refusalOrThrow(error: unknown): FencingProblem {
  const problem = problemOf(error);
  if (problem === undefined) throw error;
  return problem;
}

/** A header sent twice arrives as one, with a comma, and is malformed. */
function readHeaders(request: IncomingMessage): GuardedLease | FencingProblem {
  const { "fencing-key": keyText, "fencing-token": tokenText } = request.headers;
  if (keyText === undefined && tokenText === undefined) {
    return problem(
      428,
      "FENCING_MISSING",
      "this resource is written only under a lock: send Fencing-Key and Fencing-Token",
    );
  }
  const key = typeof keyText === "string" && KEY_TEXT.test(keyText) ? decoded(keyText) : undefined;
  if (key === undefined || Buffer.byteLength(key) > KEY_BYTES_MAX) {
    const rule = `Fencing-Key must be a key of 1 to ${KEY_BYTES_MAX} bytes, percent-encoded`;
    return problem(400, "FENCING_MALFORMED", rule);
  }
  const token = typeof tokenText === "string" && TOKEN_TEXT.test(tokenText) ? BigInt(tokenText) : undefined;
  if (token === undefined || token > MAX_TOKEN) {
    return problem(400, "FENCING_MALFORMED", `Fencing-Token must be a decimal number from 0 to ${MAX_TOKEN}`);
  }
  return { key, token };
}

/** What `encodeURIComponent` makes, and nothing else: one key has one form. */
const KEY_TEXT = /^(?:[A-Za-z0-9\-_.!~*'()]|%[0-9A-Fa-f]{2})+$/;
const TOKEN_TEXT = /^(?:0|[1-9]\d{0,18})$/;

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function wrongKey(lease: GuardedLease, expected: string): FencingProblem {
  const detail = `this resource is protected by another key: ${encodeURIComponent(expected)}`;
  return { ...problem(400, "FENCING_WRONG_KEY", detail), key: lease.key, token: lease.token.toString() };
}

const TITLES = {
  FENCING_MISSING: "Fencing token required",
  FENCING_MALFORMED: "Malformed fencing headers",
  FENCING_WRONG_KEY: "Fencing token of another lock",
} as const;

function problem(status: 400 | 428, code: keyof typeof TITLES, detail: string): FencingProblem {
  return { type: "about:blank", status, title: TITLES[code], detail, code };
}
