/**
 * Listing keys with a live lock: the lists of all backends, merged, and each key looked at on all of them. A lock that is
 * held is on q backends, so N - q + 1 whole lists of backends that forgot nothing show every held one.
 */
import type { ListPage, StatusReply } from "../backend.js";
import { BackendError } from "../errors.js";
import type { ResolvedList } from "../options.js";
import { ask, askStatusOf, type Answer, type Inquiry } from "./ask.js";
import { inspectKeys, type KeyReport } from "./inspect.js";
import type { Link } from "./link.js";

/** How a backend took part in a listing. */
export type ListedBackend =
  | {
      readonly backend: string;
      /**
       * "listed": whole, and its memory was the same from start to end. "quarantined": whole, but its memory is or was
       * new, so that it may have forgotten locks. "unfinished": not whole, or not yet.
       */
      readonly outcome: "listed" | "quarantined" | "unfinished";
    }
  | {
      readonly backend: string;
      /** It cannot list, did not answer, or does not count. */
      readonly outcome: "failed";
      readonly error: BackendError;
    };

/** What a listing covers. */
export interface ListCoverage {
  readonly backends: readonly ListedBackend[];
  /** How many keys were reported. */
  readonly keys: number;
  /** Whether it ended at the limit. */
  readonly cutOff: boolean;
  /**
   * Whether every lock that was held from start to end was reported: it was not cut off, and of at most q - 1 backends
   * the outcome is another than "listed".
   */
  readonly complete: boolean;
}

/** Keys with a live lock on some backend, each once, in no order. Can be iterated once. */
export interface KeyListing extends AsyncIterable<KeyReport> {
  /** What it covers so far; final when the iteration has ended. */
  readonly coverage: ListCoverage;
}

/** About how many keys a backend looks at for one page. */
const PAGE_SIZE = 500;
/** So many keys are looked at, at once. */
const KEYS_AT_ONCE = 64;
/** A list that goes on longer does not end. */
const PAGES_MAX = 200_000;

/** One backend's part. */
interface Listed {
  readonly link: Link;
  cursor: string | undefined;
  pages: number;
  state: "unfinished" | "whole";
  /** In service: its memory when the listing began. */
  incarnation: string | undefined;
  error: BackendError | undefined;
}

/** A listing that has not begun; asks nobody before it is iterated. Rejects with `CLOSED`. */
export function listKeys(inquiry: Inquiry, { prefix, limit }: ResolvedList): KeyListing {
  const { links, quorum } = inquiry.quorum;
  const parts = links.map((link): Listed => ({
    link,
    cursor: undefined,
    pages: 0,
    state: "unfinished",
    incarnation: undefined,
    error: undefined,
  }));
  const silent = new Map<Link, BackendError>();
  const seen = new Set<string>();
  let keys = 0;
  let cutOff = false;
  let ended = false;

  async function nextPage(part: Listed): Promise<readonly string[]> {
    const { link, cursor } = part;
    const answer = await ask(inquiry, link, (session) =>
      session.list({ prefix, cursor, pageSize: PAGE_SIZE }),
    );
    const page = answer.kind === "fault" ? undefined : answer.reply;
    part.error = answer.kind === "fault" ? answer.error : endless(part, answer.reply);
    if (page === undefined || part.error !== undefined) return page?.keys ?? [];
    part.pages++;
    part.cursor = page.next;
    if (page.next === undefined) part.state = "whole";
    return page.keys;
  }

  async function* reports(): AsyncGenerator<KeyReport, void, undefined> {
    const begun = await askStatusOf(inquiry, links);
    for (const [i, part] of parts.entries()) {
      const status = begun[i];
      if (status?.kind === "fault") part.error = status.error;
      part.incarnation = memoryOf(status);
    }
    for (const { link, error } of parts) if (error !== undefined) silent.set(link, error);
    for (;;) {
      const open = parts.filter(({ state, error }) => state === "unfinished" && error === undefined);
      if (open.length === 0) break;
      const fresh = new Set<string>();
      for (const page of await Promise.all(open.map(nextPage))) {
        for (const key of page) if (!seen.has(key)) fresh.add(key);
      }
      for (const key of fresh) seen.add(key);
      for (const some of chunks([...fresh], KEYS_AT_ONCE)) {
        const found = await inspectKeys(inquiry, some, silent);
        for (const part of parts) part.error ??= silent.get(part.link);
        for (const report of found) {
          // It has ended since.
          if (report.state === "free") continue;
          if (keys >= limit) {
            cutOff = true;
            return;
          }
          keys++;
          yield report;
        }
      }
    }
    await compareMemories();
    ended = true;
  }

  /** A backend that forgot in between may have shown a list with gaps. */
  async function compareMemories(): Promise<void> {
    const whole = parts.filter(({ state, error }) => state === "whole" && error === undefined);
    const after = await askStatusOf(
      inquiry,
      whole.map(({ link }) => link),
    );
    for (const [i, part] of whole.entries()) {
      const status = after[i];
      if (status?.kind === "fault") part.error = status.error;
      if (memoryOf(status) !== part.incarnation) part.incarnation = undefined;
    }
  }

  const iterator = reports();
  return {
    [Symbol.asyncIterator]: () => iterator,
    get coverage(): ListCoverage {
      const backends = parts.map(outcomeOf);
      const listed = backends.filter(({ outcome }) => outcome === "listed").length;
      return { backends, keys, cutOff, complete: ended && listed >= links.length - quorum + 1 };
    },
  };
}

function outcomeOf({ link, state, incarnation, error }: Listed): ListedBackend {
  const backend = link.backend.name;
  if (error !== undefined) return { backend, outcome: "failed", error };
  if (state === "unfinished") return { backend, outcome: "unfinished" };
  return { backend, outcome: incarnation === undefined ? "quarantined" : "listed" };
}

/** The memory of a backend that votes. */
function memoryOf(status: Answer<StatusReply> | undefined): string | undefined {
  if (status?.kind !== "reply" || status.reply.kind !== "in-service") return undefined;
  return status.reply.identity.incarnation;
}

function endless({ link, cursor, pages }: Listed, page: ListPage): BackendError | undefined {
  if (page.next === undefined || (page.next !== cursor && pages < PAGES_MAX)) return undefined;
  return new BackendError("BACKEND_REFUSED", {
    backend: link.backend.name,
    what: "its list of keys does not end",
  });
}

function chunks<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
