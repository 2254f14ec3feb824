/**
 * The contract of a backend once more, written as plainly as possible from `docs/` and not from the memory adapter, with
 * a switch for each way of getting it wrong. The broken ones prove the conformance list; the whole one is the twin with
 * which the memory adapter is compared.
 */
import type { MemoryClock } from "../../src/adapters/memory.js";
import type { BackendIdentity, BackendSession, Deployment, Quarantined } from "../../src/backend.js";
import { BackendError, markMismatch } from "../../src/errors.js";
import type { Break } from "./breaks.js";
import type { Restartable } from "./virtual-context.js";

interface Row {
  key: string;
  owner: string;
  g: bigint;
  expiry: number;
  locked: boolean;
  F: bigint;
  forgetAt: number;
}

interface Mark {
  incarnation: string;
  deployment: Deployment;
  joined: boolean;
  until: number;
  identity: BackendIdentity;
}

const END = 9_007_199_254_740_990n;

/** The plain backend; `durable` ones keep their incarnation when their memory is kept. */
export function twinBackend(
  world: { readonly clock: MemoryClock; readonly incarnation: () => string },
  wrong?: Break,
  durable = false,
): Restartable {
  const { clock } = world;
  const is = (what: Break): boolean => wrong === what;
  let rows: Row[] = [];
  let mark: Mark | undefined;
  let incarnation = world.incarnation();

  function storedKey(key: string): string {
    if (is("keys trimmed")) return key.trimEnd();
    if (is("keys folded")) return key.toLowerCase();
    if (is("keys normalized")) return key.normalize("NFC");
    if (is("keys end at NUL")) return key.split("\0")[0] ?? "";
    if (is("keys cut at 255")) return key.slice(0, 255);
    if (is("keys without braces")) return key.replace(/[{}]/g, "");
    if (is("keys share suffixes")) return key.replace(/:f$/, "");
    if (is("long keys refused") && key.length > 255) throw refused("BACKEND_REFUSED", "key too long");
    return key;
  }

  function refused(code: "BACKEND_REFUSED" | "BACKEND_COUNTER_BROKEN", what: string): BackendError {
    return new BackendError(code, { backend: "twin", what });
  }

  function rowOf(key: string): Row {
    const found = rows.find((row) => row.key === storedKey(key));
    if (found !== undefined && found.forgetAt <= clock.nowMs()) found.F = 0n;
    if (found !== undefined) return found;
    const row: Row = { key: storedKey(key), owner: "", g: 0n, expiry: 0, locked: false, F: 0n, forgetAt: 0 };
    rows.push(row);
    return row;
  }

  function live(row: Row): boolean {
    const slack = is("expires early") ? -1 : is("expires late") ? 3 : 0;
    const isLive = row.locked && row.expiry + slack > clock.nowMs();
    if (!isLive && row.locked && is("expiry drops the counter")) row.F = 0n;
    return isLive;
  }

  function max(a: bigint, b: bigint): bigint {
    return a > b ? a : b;
  }

  function kept(fence: bigint): bigint {
    return is("counter in 14 digits") ? BigInt(Number(Number(fence).toPrecision(14))) : fence;
  }

  type Call = (ticket: string, inMs: number) => void;
  interface Waiting {
    key: string;
    id: string;
    since: bigint;
    session: object;
  }
  let waiting: Waiting[] = [];
  const sessions: object[] = [];
  let keptFree: { key: string; id: string; session: object; until: number }[] = [];
  let watchers: { session: object; call: Call }[] = [];

  function keptFor(key: string): { id: string; session: object; until: number } | undefined {
    keptFree = keptFree.filter(({ until }) => until > clock.nowMs() || is("endless reservation"));
    return keptFree.find((each) => each.key === key);
  }

  function call({ id, session }: Waiting, inMs: number): void {
    if (is("nobody is called")) return;
    for (const each of watchers) if (each.session === session) each.call(id, inMs);
  }

  function goesFirst(a: Waiting, b: Waiting): boolean {
    if (a.since !== b.since) return a.since < b.since;
    if (is("a tie goes to the elder session"))
      return sessions.indexOf(a.session) < sessions.indexOf(b.session);
    return a.id < b.id;
  }

  function callNext(key: string): void {
    const line = waiting
      .filter((each) => each.key === key)
      .sort((a, b) => (goesFirst(a, b) ? -1 : 1) * (is("tickets in any order") ? -1 : 1));
    const [first, second] = line;
    keptFree = keptFree.filter((each) => each.key !== key);
    if (first === undefined) return;
    waiting = waiting.filter((each) => each !== first);
    if (!is("no reservation")) keptFree.push({ ...first, until: clock.nowMs() + 100 });
    call(first, 0);
    if (second !== undefined && !is("the second is not told")) call(second, 100);
  }

  function open(deployment: Deployment): BackendSession {
    const self = {};
    sessions.push(self);
    let cached: Mark | undefined;

    function use(row: Row): void {
      row.forgetAt = clock.nowMs() + deployment.tokenRetentionMs;
    }

    function currentMark(): Mark {
      if (is("mark read once per session") && cached !== undefined) return cached;
      const theirs = mark?.deployment ?? deployment;
      const differs =
        (theirs.backends !== deployment.backends && !is("ignores backends")) ||
        (theirs.quorum !== deployment.quorum && !is("ignores quorum")) ||
        (theirs.maxTtlMs !== deployment.maxTtlMs && !is("ignores maxTtlMs")) ||
        (theirs.restartGuard === "off") !== (deployment.restartGuard === "off") ||
        (theirs.clockSkewMs !== deployment.clockSkewMs && is("refuses all that differs"));
      if (differs && is("mark is rewritten") && mark !== undefined) mark.deployment = deployment;
      else if (differs) throw markMismatch({ backend: "twin", mark: "its mark" }, theirs, deployment);
      if (mark === undefined || mark.incarnation !== incarnation) {
        let length = deployment.quarantineMs;
        if (deployment.restartGuard === "off" && !is("restart guard off is ignored")) length = 0;
        if (is("no quarantine")) length = 0;
        if (is("half a quarantine")) length /= 2;
        if (is("endless quarantine")) length *= 1_000;
        if (is("kept memory votes") && mark !== undefined) length = 0;
        mark = {
          incarnation,
          deployment,
          joined: is("new memory joined") || (mark !== undefined && !is("found mark not joined")),
          until: clock.nowMs() + length,
          identity: { serverId: incarnation, incarnation },
        };
      }
      cached = mark;
      return mark;
    }

    function identityOf(current: Mark): BackendIdentity {
      return is("identity anew each time") ? { ...current.identity } : current.identity;
    }

    function quarantined(current: Mark): Quarantined | undefined {
      const remainingMs = current.until - clock.nowMs();
      if (remainingMs <= 0) return undefined;
      return { kind: "quarantined", remainingMs, joined: current.joined, identity: identityOf(current) };
    }

    function clamp(proposal: bigint, F: bigint): bigint {
      if (is("no clamp")) return proposal;
      const low = clock.wallMicros() - BigInt(deployment.clockSkewMs) * 1000n;
      const high = clock.wallMicros() + BigInt(deployment.clockSkewMs) * 1000n;
      if (proposal < low && !is("no clamp below")) return low;
      if (proposal > high && is("clamp only caps")) return F + 1n;
      if (proposal > high && !is("no clamp above")) return high;
      return proposal;
    }

    return {
      async acquire({ key, owner, ttlMs, proposal, ticket }) {
        const current = is("acquire skips the mark") && mark === undefined ? undefined : currentMark();
        const identity = current === undefined ? { serverId: "", incarnation } : identityOf(current);
        const row = rowOf(key);
        const sameOwner = live(row) && row.owner === owner;
        const inQuarantine = current === undefined ? undefined : quarantined(current);
        if (inQuarantine !== undefined && !(sameOwner && is("survivor granted again"))) return inQuarantine;
        const reserved = live(row) ? undefined : keptFor(key);
        const isOurs = reserved?.session === self && reserved.id === ticket?.id;
        const stands = (each: Waiting): boolean =>
          each.key === key && each.session === self && each.id === ticket?.id;
        if (ticket !== undefined) {
          const left = waiting.filter((each) => !stands(each));
          const gets = (!live(row) || row.owner === owner) && (reserved === undefined || isOurs);
          if (!gets) waiting = [...left, { key, id: ticket.id, since: ticket.since, session: self }];
          else if (!is("the lock leaves the ticket")) waiting = left;
          else waiting = [...left, { key, id: ticket.id, since: ticket.since, session: self }];
          if (gets) keptFree = keptFree.filter((each) => each.key !== key);
        }
        if (reserved !== undefined && !isOurs) {
          return { kind: "held", remainingMs: reserved.until - clock.nowMs(), reserved: true, identity };
        }
        const taken = live(row);
        if (is("acquire is not atomic")) await Promise.resolve();
        if (taken && row.owner !== owner && !is("acquire ignores the live lock")) {
          if (is("refused acquire counts up")) row.F += 1n;
          if (is("refused acquire moves the expiry")) row.expiry = clock.nowMs() + ttlMs;
          const remainingMs = is("held tells the whole TTL") ? ttlMs : row.expiry - clock.nowMs();
          return {
            kind: "held",
            remainingMs,
            identity: is("identity differs in held") ? { ...identity, serverId: "?" } : identity,
          };
        }
        const duplicate =
          sameOwner || (is("expired own lock is a duplicate") && row.locked && row.owner === owner);
        if (duplicate) {
          if (is("own lock is foreign"))
            return { kind: "held", remainingMs: row.expiry - clock.nowMs(), identity };
          if (is("duplicate counts up")) row.F = row.g = row.F + 1n;
          if (is("duplicate lengthens")) row.expiry = Math.max(row.expiry, clock.nowMs() + ttlMs);
          if (is("duplicate shortens")) row.expiry = Math.min(row.expiry, clock.nowMs() + ttlMs);
          return { kind: "granted", fence: is("duplicate returns the counter") ? row.F : row.g, identity };
        }
        const last = is("stops one early") ? END - 1n : END;
        const full = row.F >= last && !is("counts past the end");
        if (full && !is("full counter stores the lock")) throw refused("BACKEND_COUNTER_BROKEN", "full");
        const wanted = clamp(proposal, row.F);
        const above = is("proposal at the counter taken") ? wanted >= row.F : wanted > row.F;
        const taking = (above || is("proposal always taken")) && !is("proposal ignored");
        row.F = kept(taking ? wanted : row.F + 1n);
        row.g = row.F;
        row.owner = owner;
        row.expiry = clock.nowMs() + ttlMs;
        row.locked = true;
        use(row);
        if (full) {
          row.F = END;
          throw refused("BACKEND_COUNTER_BROKEN", "full");
        }
        return { kind: "granted", fence: row.g, identity };
      },

      async raise({ key, owner, fence, token }) {
        currentMark();
        const row = rowOf(key);
        const there = live(row) || (is("raise ignores expiry") && row.locked);
        const ownerFits = row.owner === owner || is("raise by fence only");
        const fenceFits = row.g === fence || is("raise by owner only");
        if (!(there && ownerFits && fenceFits) && !is("raise unconditional")) return "refused";
        if (is("raise does nothing")) return "raised";
        row.F = kept(is("raise lowers") ? token : max(row.F, token));
        if (is("raise changes the fence")) row.g = token;
        if (is("raise lengthens")) row.expiry += 1_000;
        if (!is("retention not renewed by raise")) use(row);
        return "raised";
      },

      async extend({ key, owner, ttlMs, token, mayHeal }) {
        const current = is("heal ignores the mark") && mayHeal && mark !== undefined ? mark : currentMark();
        const identity = identityOf(current);
        const row = rowOf(key);
        const until = clock.nowMs() + ttlMs;
        const inQuarantine = quarantined(current);
        const there = live(row) || (is("extend ignores expiry") && row.locked);
        if (inQuarantine !== undefined && is("survivor not extended")) return inQuarantine;
        if (there && (row.owner === owner || is("extend of anybody"))) {
          if (is("extend moves nothing")) return { kind: "extended", identity };
          row.expiry = is("extend shortens") ? until : Math.max(row.expiry, until);
          if (is("extend lowers the counter")) row.F = token;
          else if (!is("extend forgets the token")) row.F = max(row.F, token);
          if (is("extend changes the fence")) row.g = token;
          if (!is("retention not renewed by extend")) use(row);
          return { kind: "extended", identity };
        }
        if (there && !(mayHeal && is("heal takes another's lock"))) {
          return inQuarantine ?? { kind: "not-owner", identity };
        }
        if (inQuarantine !== undefined && !(mayHeal && is("heal in quarantine"))) return inQuarantine;
        if (keptFor(key) !== undefined && !is("reservation healed")) return { kind: "not-owner", identity };
        const heals = (mayHeal || is("extend always heals")) && !is("extend never heals");
        if (!heals) return { kind: "not-owner", identity };
        row.F = is("heal lowers the counter") ? token : max(row.F, token);
        row.g = is("heal with another fence") ? row.F + 1n : row.F;
        row.owner = owner;
        row.expiry = until;
        row.locked = true;
        use(row);
        return { kind: "recreated", identity };
      },

      async release(key, owner, ticket) {
        const row = rowOf(key);
        if (is("survivor not released") && mark !== undefined && mark.until > clock.nowMs())
          return "not-owner";
        const there = live(row) || (is("release ignores expiry") && row.locked);
        if (!row.locked && row.F === 0n && is("release of nothing says released")) return "released";
        if (!row.locked && row.owner === owner && is("a second release says released")) return "released";
        const standing = (): void => {
          if (ticket === undefined) return;
          waiting = waiting.filter(
            (each) => each.key !== key || each.session !== self || each.id !== ticket.id,
          );
          waiting.push({ key, id: ticket.id, since: ticket.since, session: self });
        };
        if (is("a release of nothing stands in line")) standing();
        if (!there || (row.owner !== owner && !is("release by anybody"))) return "not-owner";
        if (is("release frees all keys")) for (const each of rows) each.locked = false;
        if (is("release does nothing")) return "released";
        row.locked = false;
        if (is("release drops the counter")) row.F = 0n;
        if (!is("retention not renewed by release")) use(row);
        if (!is("a release forgets its ticket") && !is("a release calls before its ticket stands"))
          standing();
        callNext(key);
        if (is("a release calls before its ticket stands")) standing();
        return "released";
      },

      async forceRelease(key) {
        const row = rowOf(key);
        if (!live(row)) return is("force release always true");
        if (is("force release by owner")) return false;
        row.locked = false;
        if (is("force release drops the counter")) row.F = 0n;
        use(row);
        if (!is("forced release calls nobody")) callNext(key);
        return true;
      },

      async inspect(key) {
        const row = rowOf(key);
        const reserved = keptFor(key);
        if (!live(row) && reserved !== undefined && is("reservation shown as a lock")) {
          return { lock: { owner: "r", fence: 1n, remainingMs: 1 }, counter: row.F };
        }
        if (!live(row) && !(is("inspect shows expired locks") && row.locked)) {
          return { lock: undefined, counter: is("inspect hides the counter") ? 0n : row.F };
        }
        const left = row.expiry - clock.nowMs();
        const remainingMs = is("inspect tells whole seconds") ? Math.ceil(left / 1_000) * 1_000 : left;
        const lock = { owner: row.owner, fence: row.g, remainingMs };
        return { lock, counter: row.F };
      },

      async status() {
        const current = currentMark();
        return quarantined(current) ?? { kind: "in-service", identity: identityOf(current) };
      },

      async bootstrap(of) {
        const current = currentMark();
        if (is("bootstrap does nothing")) return;
        if (is("bootstrap refused when joined") && current.joined) return;
        if (current.incarnation === of || is("bootstrap without incarnation")) current.until = 0;
      },

      async join(of) {
        const current = currentMark();
        if (is("join does nothing")) return;
        if (current.incarnation !== of && !is("join without incarnation")) return;
        current.joined = true;
        if (is("join begins the quarantine anew")) current.until = clock.nowMs() + deployment.quarantineMs;
        if (is("join ends the quarantine")) current.until = 0;
      },

      async list({ prefix, cursor, pageSize }) {
        const keys = rows
          .filter((row) => live(row) || (is("list shows expired locks") && row.locked))
          .map(({ key }) => key)
          .filter((key) => is("list ignores the prefix") || key.startsWith(prefix))
          .sort();
        const from = Number(cursor ?? 0);
        const to = from + pageSize;
        const next = to < keys.length && !is("list ends after a page") ? String(to) : undefined;
        return { keys: keys.slice(from, to), next };
      },

      async lift(key, token) {
        const row = rowOf(key);
        row.F = is("lift lowers") ? token : is("lift does nothing") ? row.F : max(row.F, token);
        if (is("lift frees the lock")) row.locked = false;
        use(row);
        return is("lift does nothing") ? token : row.F;
      },

      async quarantine() {
        currentMark();
        if (deployment.restartGuard === "off" && !is("quarantine without a guard")) {
          throw new BackendError("BACKEND_UNSUPPORTED", { backend: "twin", what: "never forgets" });
        }
        if (!is("quarantine keeps the incarnation")) incarnation = world.incarnation();
        const current = currentMark();
        if (is("quarantine keeps the incarnation")) current.until = clock.nowMs() + deployment.quarantineMs;
        if (is("quarantine does nothing")) current.until = 0;
        if (is("quarantine not joined")) current.joined = false;
        if (is("quarantine forgets locks")) rows = [];
        const remainingMs = deployment.quarantineMs;
        return { kind: "quarantined", remainingMs, joined: current.joined, identity: identityOf(current) };
      },

      async examine() {
        if (is("examine frees locks")) rows = [];
        return { server: "twin", wallMs: Number(clock.wallMicros() / 1000n), findings: [] };
      },

      watch(listener) {
        const entry = { session: self, call: listener };
        watchers.push(entry);
        return () => {
          watchers = watchers.filter((each) => each !== entry);
        };
      },

      async leave(key, ticket) {
        if (is("leaving does nothing")) return;
        if (!is("leaving drops the reservation only")) {
          waiting = waiting.filter((each) => each.key !== key || each.session !== self || each.id !== ticket);
        }
        const reserved = keptFor(key);
        if (reserved?.session !== self || reserved.id !== ticket) return;
        if (is("leaving drops the reservation only")) keptFree = keptFree.filter((each) => each.key !== key);
        else callNext(key);
      },

      async close() {
        if (is("close forgets")) rows = [];
      },
    };
  }

  return {
    kind: "twin",
    name: "twin",
    capabilities: {
      earlyByMs: 0,
      lateByMs: 0,
      expiryClock: "monotonic",
      durable,
      lists: true,
      wakes: true,
      atomicStep: "one turn of the event loop",
      acquireRoundTrips: 0,
    },
    client: {},
    open,
    restart(memoryIs) {
      if (durable && memoryIs === "kept") return;
      if (!is("one incarnation for ever")) incarnation = world.incarnation();
      if (memoryIs === "kept") return;
      rows = [];
      waiting = [];
      keptFree = [];
      mark = undefined;
    },
  };
}
