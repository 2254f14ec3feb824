/**
 * A backend whose operations are never alone: each is asked for together with one of the same kind, on a key that is nobody's business, so
 * that it takes the way of many. For adapters that send what is asked for in one turn as one request.
 */
import type { Backend, BackendSession } from "../../src/backend.js";
import { freshName, type Place } from "./adapter-conformance.ts";

const COMPANY = "\u{10fffd}company:";

/** The same place, in company. */
export function inCompany(place: Place): Place {
  const { backend } = place;
  const together: Backend = {
    ...backend,
    open: (deployment) => accompanied(backend.open(deployment)),
  };
  return { ...place, backend: together };
}

function accompanied(session: BackendSession): BackendSession {
  /** What becomes of the company is nobody's business either; an operation that fails for both is told by the other one. */
  const besides = <T>(company: Promise<unknown>, asked: Promise<T>): Promise<T> => {
    company.catch(() => undefined);
    return asked;
  };
  const elsewhere = (): string => `${COMPANY}${freshName()}`;
  return {
    ...session,
    acquire: (request) =>
      besides(
        session.acquire({ ...request, key: elsewhere(), ticket: undefined, ttlMs: 100 }),
        session.acquire(request),
      ),
    raise: (request) => besides(session.raise({ ...request, key: elsewhere() }), session.raise(request)),
    extend: (request) =>
      besides(session.extend({ ...request, key: elsewhere(), mayHeal: false }), session.extend(request)),
    release: (key, owner, ticket) =>
      besides(session.release(elsewhere(), owner), session.release(key, owner, ticket)),
    async list(request) {
      const page = await session.list(request);
      return { ...page, keys: page.keys.filter((key) => !key.startsWith(COMPANY)) };
    },
  };
}
