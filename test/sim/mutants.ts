/**
 * Planted bugs: each takes one rule of the protocol out of the production code, by an exact replacement in the compiled
 * text of the real module, and the simulation must see it within the stated number of worlds. A replacement whose text is
 * not there exactly once fails loudly, so that a mutant never quietly tests nothing.
 */
import type { ProfileName } from "./profiles.js";

/** One replacement in a module of `src`, as the compiler writes it. */
export interface Edit {
  /** From the root, without an extension. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** A planted bug. */
export interface Mutant {
  /** The rule that is missing, in a few words; unique. */
  readonly name: string;
  readonly edits: readonly Edit[];
  /** The checkers of which one must see it. */
  readonly seenBy: readonly string[];
  readonly profile: ProfileName;
  /** Within so many worlds of that profile, from the first one on. */
  readonly worlds: number;
}

const VALIDITY = "src/engine/validity";
const ROUND = "src/engine/round";
const EXTENSION = "src/engine/extension";
const RECORD = "src/engine/record";
const MARK = "src/engine/mark";
const CONTACT = "src/engine/first-contact";
const POLL = "src/lock/poll";
const LEASE = "src/lock/lease";
const WATCH = "src/lock/loss-watch";
const MEMORY = "src/adapters/memory";
const LINE = "src/engine/line";
const CALLS = "src/lock/calls";
/** The stand-in for `src/lock/system.ts`, which reads the clocks of a real process. */
const SYSTEM = "test/sim/process";

const NO_EXPIRED_VERDICT: Edit = {
  file: EXTENSION,
  find: 'if (now >= extension.validUntil)\n        return "expired";',
  put: "",
};
const WATCH_ASLEEP: Edit = {
  file: WATCH,
  find:
    "if (now >= entry.lease.lossAt)\n                lost.push(entry);\n            else {\n" +
    "                wheel.insert(entry, Math.ceil(entry.lease.lossAt));",
  put: "{ if (now < entry.lease.lossAt) wheel.insert(entry, Math.ceil(entry.lease.lossAt));",
};
const LOOKS_ONLY_AT_REACHABLE: readonly Edit[] = [
  {
    file: CONTACT,
    find: "firstDoneAt: first.includes(undefined) ? undefined : state.clock",
    put: "firstDoneAt: most(first) ? state.clock : undefined",
  },
  {
    file: CONTACT,
    find: "decided: second.includes(undefined) ? state.decided : second",
    put: "decided: most(second) ? second : state.decided",
  },
  {
    file: CONTACT,
    find: "const NONE = [];",
    put: "const NONE = []; const most = (seen) => seen.filter((each) => each !== undefined).length > seen.length / 2;",
  },
  {
    file: "src/lock/acquire",
    find: 'return round.seats.every((seat) => seat === "quarantined");',
    put: 'return round.seats.every((seat) => seat === "quarantined" || seat === "fault" || seat === "waiting");',
  },
];

/** As a backend without a clock would do. */
const NO_CLAMP: Edit = {
  file: MEMORY,
  find: "clampProposal(proposal, clock.wallMicros(), skew)",
  put: "proposal",
};

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "no drift term",
    edits: [
      {
        file: VALIDITY,
        find: "((ttlMs - bounds.earlyByMs) * (1 - rho)) / (1 + rho)",
        put: "(ttlMs - bounds.earlyByMs)",
      },
    ],
    seenBy: ["exclusion"],
    profile: "bounds",
    worlds: 1_000,
  },
  {
    name: "how early a lock may end is not reckoned with",
    edits: [
      {
        file: VALIDITY,
        find: "((ttlMs - bounds.earlyByMs) * (1 - rho)) / (1 + rho)",
        put: "(ttlMs * (1 - rho)) / (1 + rho)",
      },
    ],
    seenBy: ["exclusion"],
    profile: "kinds",
    worlds: 2_000,
  },
  {
    name: "validity counted from the reply",
    edits: [
      {
        file: POLL,
        find: "validUntil: round.validUntil,",
        put: "validUntil: after(system.now(), validityMs(this.#request.ttlMs, this.#quorum.clockBounds)),",
      },
    ],
    seenBy: ["exclusion"],
    profile: "bounds",
    worlds: 1_000,
  },
  {
    name: "a minority decides",
    edits: [
      {
        file: "src/engine/quorum",
        find: "return Math.floor(n / 2) + 1;",
        put: "return Math.max(1, Math.floor(n / 2));",
      },
    ],
    seenBy: ["exclusion", "tokens"],
    profile: "clocks",
    worlds: 100,
  },
  {
    name: "no raise",
    edits: [{ file: ROUND, find: '(fences[i] === token ? "known" : "behind")', put: '"known"' }],
    seenBy: ["tokens"],
    profile: "clocks",
    worlds: 500,
  },
  {
    name: "raise unconditional",
    edits: [
      {
        file: RECORD,
        find: "lock === undefined || lock.owner !== request.owner || lock.fence !== request.fence",
        put: "false",
      },
    ],
    seenBy: ["tokens"],
    profile: "expiry",
    worlds: 2_000,
  },
  {
    name: "raise of whatever its owner has",
    edits: [
      {
        file: RECORD,
        find: "lock === undefined || lock.owner !== request.owner || lock.fence !== request.fence",
        put: "lock === undefined || lock.owner !== request.owner",
      },
    ],
    seenBy: ["tokens"],
    profile: "ties",
    worlds: 4_000,
  },
  {
    name: "a late grant above the token counts",
    edits: [
      { file: ROUND, find: 'fence < token ? "behind" : "ahead"', put: 'fence < token ? "behind" : "known"' },
    ],
    seenBy: ["tokens"],
    profile: "ties",
    worlds: 500,
  },
  {
    name: "a refused raise is tried again with another grant",
    edits: [
      {
        file: POLL,
        find: "this.#round = castRaise(this.#round, link.index, vote);",
        put:
          'if (vote === "refused" && !link.asked?.has(this.#claim.owner)) {\n' +
          "            (link.asked ??= new Set()).add(this.#claim.owner);\n" +
          "            link.send((session) => session.acquire(this.#asked), (reply) => {\n" +
          '                if (reply.kind !== "granted") return this.#onRaised(link, fence, "refused");\n' +
          "                this.#answers[link.index] = reply;\n" +
          "                link.send((session) => session.raise({ ...this.#claim, fence: reply.fence, token: this.#round.token }),\n" +
          '                    (raised) => this.#onRaised(link, reply.fence, raised), () => this.#onRaised(link, fence, "fault"));\n' +
          '            }, () => this.#onRaised(link, fence, "fault"));\n' +
          "            return;\n        }\n" +
          "        this.#round = castRaise(this.#round, link.index, vote);",
      },
    ],
    seenBy: ["tokens"],
    profile: "ties",
    worlds: 1_000,
  },
  {
    name: "release without owner check",
    edits: [
      {
        file: RECORD,
        find: 'if (lock?.owner !== owner)\n        return { answer: "not-owner", next: undefined };\n    // There is room for it',
        put: 'if (lock === undefined) return { answer: "not-owner", next: undefined };\n    // There is room for it',
      },
    ],
    seenBy: ["exclusion"],
    profile: "clocks",
    worlds: 200,
  },
  {
    name: "the same owner on retry",
    edits: [
      {
        file: POLL,
        find: "const owner = system.newOwner();",
        put: "const owner = ((quorum.owners ??= {})[key] ??= system.newOwner());",
      },
    ],
    seenBy: ["exclusion", "tokens"],
    profile: "clocks",
    worlds: 300,
  },
  {
    name: "heal after expiry",
    edits: [
      NO_EXPIRED_VERDICT,
      WATCH_ASLEEP,
      {
        file: LEASE,
        find: 'if (this.#state === "held" && now >= this.validUntil)\n            this.lose("expired");',
        put: "",
      },
    ],
    seenBy: ["resurrection", "exclusion"],
    profile: "delays",
    worlds: 300,
  },
  {
    name: "heal of a forced release",
    edits: [
      {
        file: EXTENSION,
        find: "return elapsedMs(confirmation.at, since.now) >= since.ttlMs;",
        put: "return true;",
      },
    ],
    seenBy: ["resurrection"],
    profile: "force",
    worlds: 200,
  },
  {
    name: "heal on a quarantined backend",
    edits: [
      {
        file: RECORD,
        find: 'if (request.quarantined)\n        return { answer: "quarantined", next: undefined };',
        put: "",
      },
    ],
    seenBy: ["exclusion"],
    profile: "mending",
    worlds: 3_000,
  },
  {
    name: "heal takes another's lock",
    edits: [
      { file: RECORD, find: "if (lock !== undefined || !request.mayHeal)", put: "if (!request.mayHeal)" },
    ],
    seenBy: ["exclusion"],
    profile: "contended",
    worlds: 1_500,
  },
  {
    name: "answers of two extension rounds added up",
    edits: [
      {
        file: "src/lock/extend",
        find: "let extension = startExtension(links.length, quorum.quorum, request.validUntil);",
        put:
          "let extension = startExtension(links.length, quorum.quorum, request.validUntil);\n" +
          '    const before = (claim.before ?? []).map((vote) => (vote === "extended" || vote === "recreated" ? vote : undefined));\n' +
          "    if (before.length > 0) extension = { ...extension, votes: before };",
      },
      {
        file: "src/lock/extend",
        find: "extension = castExtend(extension, link.index, vote);",
        put: "extension = castExtend(extension, link.index, vote); claim.before = extension.votes;",
      },
    ],
    seenBy: ["exclusion", "resurrection"],
    profile: "keeping",
    worlds: 500,
  },
  {
    name: "an extension counts after the old end",
    edits: [NO_EXPIRED_VERDICT, WATCH_ASLEEP],
    seenBy: ["resurrection"],
    profile: "delays",
    worlds: 1_000,
  },
  {
    name: "no quarantine",
    edits: [{ file: MARK, find: "fresh.nowMs + quarantineMs", put: "0" }],
    seenBy: ["exclusion"],
    profile: "memory",
    worlds: 100,
  },
  {
    name: "half a quarantine",
    edits: [{ file: MARK, find: "fresh.nowMs + quarantineMs", put: "fresh.nowMs + quarantineMs / 2" }],
    seenBy: ["exclusion"],
    profile: "memory",
    worlds: 300,
  },
  {
    name: "a quarantine without the two skews",
    edits: [{ file: VALIDITY, find: " + 2 * bounds.clockSkewMs", put: "" }],
    seenBy: ["tokens"],
    profile: "skew",
    worlds: 1_000,
  },
  {
    name: "the wall clock as the clock of leases",
    edits: [
      {
        file: SYSTEM,
        find: "const now = instant(zero + (awakeMs() - startedAtMs) * ratio + seenSleepMs);",
        put: "const now = lookAt(atMs());",
      },
      {
        file: SYSTEM,
        find: "return instant(zero + (trueMs - startedAtMs - unseenMs(trueMs)) * ratio);",
        put: "return instant(trueMs + jumps.reduce((sum, jump) => (jump.atMs <= trueMs ? sum + jump.ms : sum), clocks.wallOffsetMs));",
      },
      {
        file: SYSTEM,
        find: "wallOffsetMs += ms;",
        put: "wallOffsetMs += ms; jumps.push({ atMs: kernel.nowMs, ms });",
      },
      { file: SYSTEM, find: "const owners = [];", put: "const owners = []; const jumps = [];" },
    ],
    seenBy: ["exclusion", "loss signal"],
    profile: "clocks",
    worlds: 200,
  },
  {
    name: "a suspend is not noticed",
    edits: [
      {
        file: SYSTEM,
        find: "return instant(zero + (trueMs - startedAtMs - unseenMs(trueMs)) * ratio);",
        put:
          "const slept = naps.reduce((sum, nap) => sum + Math.min(Math.max(trueMs - nap.fromMs, 0), nap.ms), 0);\n" +
          "        return instant(zero + (trueMs - startedAtMs - slept) * ratio);",
      },
      { file: SYSTEM, find: "seenSleepMs = (atMs() - awakeMs() - unseenMs(atMs())) * ratio;", put: "" },
      { file: SYSTEM, find: "sleptMs += ms;", put: "sleptMs += ms; naps.push({ fromMs, ms });" },
      { file: SYSTEM, find: "const owners = [];", put: "const owners = []; const naps = [];" },
    ],
    seenBy: ["exclusion"],
    profile: "clocks",
    worlds: 300,
  },
  {
    name: "the token of one backend",
    edits: [{ file: ROUND, find: "token = higherFence(token, granted);", put: "token = fence;" }],
    seenBy: ["tokens"],
    profile: "clocks",
    worlds: 500,
  },
  {
    name: "a loss is noticed by requests only",
    edits: [WATCH_ASLEEP],
    seenBy: ["loss signal"],
    profile: "clocks",
    worlds: 50,
  },
  {
    name: "a straggler is not released",
    edits: [
      {
        file: ROUND,
        find: 'return indexesOf(round, (seat) => seat !== "held" && seat !== "quarantined");',
        put: 'return indexesOf(round, (seat) => seat === "known" || seat === "granted");',
      },
    ],
    seenBy: ["leaks"],
    profile: "graceful",
    worlds: 100,
  },
  {
    name: "a grant behind its release is left there",
    edits: [
      {
        file: "src/lock/release",
        find: "if (((claim.denials | claim.recreated) & bit) !== 0)",
        put: "if (false)",
      },
    ],
    seenBy: ["leaks"],
    profile: "reordered",
    worlds: 100,
  },
  {
    name: "a grant behind an extension that created the lock anew is left there",
    edits: [{ file: "src/lock/release", find: "(claim.denials | claim.recreated)", put: "claim.denials" }],
    seenBy: ["leaks"],
    profile: "reordered",
    worlds: 500,
  },
  {
    name: "a refusal that is heard of behind an extension hides what that locked",
    edits: [
      {
        file: POLL,
        find: 'if (fault.effect === "none" && !claim.extended)',
        put: 'if (fault.effect === "none")',
      },
    ],
    seenBy: ["leaks"],
    profile: "graceful",
    worlds: 3_000,
  },
  {
    name: "bootstrap although somebody joined",
    edits: [{ file: CONTACT, find: "if (sighting.joined)", put: "if (false)" }],
    seenBy: ["exclusion"],
    profile: "fresh",
    worlds: 500,
  },
  {
    name: "proposals reused on retry, at backends without a clock of their own",
    edits: [
      {
        file: POLL,
        find: "const proposal = system.propose();",
        put: "const proposal = ((quorum.proposals ??= {})[key] ??= system.propose());",
      },
      NO_CLAMP,
    ],
    seenBy: ["tokens"],
    profile: "order",
    worlds: 500,
  },
  {
    name: "no proposals",
    edits: [
      { file: POLL, find: "const proposal = system.propose();", put: "const proposal = 0n;" },
      NO_CLAMP,
    ],
    seenBy: ["tokens"],
    profile: "order",
    worlds: 500,
  },
  {
    name: "proposals are not clamped",
    edits: [NO_CLAMP],
    seenBy: ["tokens"],
    profile: "mad",
    worlds: 500,
  },
  {
    name: "the epoch of a failover and back is missing in the mark",
    edits: [
      {
        file: MEMORY,
        find: 'incarnation = newIncarnation();\n            if (memoryIs === "kept")',
        put: 'if (memoryIs === "lost") incarnation = newIncarnation();\n            if (memoryIs === "kept")',
      },
    ],
    seenBy: ["exclusion"],
    profile: "failover",
    worlds: 200,
  },
  {
    name: "an expiry shrinks",
    edits: [{ file: RECORD, find: "Math.max(lock.expiresAt, expiresAt)", put: "expiresAt" }],
    seenBy: ["exclusion"],
    profile: "keeping",
    worlds: 500,
  },
  {
    name: "the guard lets every write pass",
    edits: [
      {
        file: "src/guard/in-process",
        find: "if (highest !== undefined && token < highest)",
        put: "if (false)",
      },
    ],
    seenBy: ["stale writes"],
    profile: "delays",
    worlds: 100,
  },
  {
    name: "a waiter leaves its listener on the caller's signal",
    edits: [{ file: "src/lock/waiting", find: 'signal.removeEventListener("abort", listener);', put: "" }],
    seenBy: ["leaks"],
    profile: "clocks",
    worlds: 50,
  },
  {
    name: "a keeper goes on behind the end of its lease",
    edits: [
      { file: "src/lock/keeper", find: "kept.over = true;\n            watch.remove(kept);", put: "" },
      { file: "src/lock/keeper", find: "watch.stop();", put: "" },
      {
        file: WATCH,
        find: "lost.push(entry);",
        put: "{ lost.push(entry); wheel.insert(entry, Math.ceil(now) + SLICE_MS); }",
      },
    ],
    seenBy: ["leaks"],
    profile: "clocks",
    worlds: 50,
  },
  {
    name: "a quarantine that never ends",
    edits: [
      {
        file: MARK,
        find: "Math.max(0, mark.quarantinedUntil - nowMs)",
        put: "mark.quarantinedUntil === 0 ? 0 : 1_000",
      },
    ],
    seenBy: ["liveness"],
    profile: "strict",
    worlds: 50,
  },
  {
    name: "bootstrap of all that can be reached instead of all",
    edits: LOOKS_ONLY_AT_REACHABLE,
    seenBy: ["exclusion"],
    profile: "starting",
    worlds: 4_000,
  },
  {
    name: "bootstrap after one look",
    edits: [
      {
        file: CONTACT,
        find: "firstDoneAt: first.includes(undefined) ? undefined : state.clock",
        put: "firstDoneAt: first.includes(undefined) ? undefined : state.clock, decided: first.includes(undefined) ? state.decided : first",
      },
    ],
    seenBy: ["exclusion"],
    profile: "proxied",
    worlds: 4_000,
  },
  {
    name: "bootstrap of whatever memory is there",
    edits: [
      {
        file: MARK,
        find: "mark.incarnation !== incarnation || mark.quarantinedUntil === 0",
        put: "mark.quarantinedUntil === 0",
      },
    ],
    seenBy: ["exclusion"],
    profile: "proxied",
    worlds: 5_000,
  },
  {
    name: "a found mark does not count as joined",
    edits: [{ file: MARK, find: "joined: found !== undefined,", put: "joined: false," }],
    seenBy: ["exclusion"],
    profile: "opening",
    worlds: 8_000,
  },
  {
    name: "a reservation that lasts for many",
    edits: [
      {
        file: LINE,
        find: "until: now.atMostMs + RESERVATION_MS }",
        put: "until: now.atMostMs + 20 * RESERVATION_MS }",
      },
    ],
    seenBy: ["line"],
    profile: "queue",
    worlds: 100,
  },
  {
    name: "the second in line is not told when its turn comes",
    edits: [{ file: LINE, find: "return second === undefined ? [first] :", put: "return true ? [first] :" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 50,
  },
  {
    name: "the last in line goes first",
    edits: [
      { file: LINE, find: "return a.since < b.since ? -1 : 1;", put: "return a.since < b.since ? 1 : -1;" },
    ],
    seenBy: ["line"],
    profile: "queue",
    worlds: 50,
  },
  {
    name: "an acquire does not look at whom a key is kept for",
    edits: [
      { file: RECORD, find: "if (reserved !== undefined && reserved.id !== ticket?.id)", put: "if (false)" },
    ],
    seenBy: ["line"],
    profile: "queue",
    worlds: 100,
  },
  {
    name: "an extension creates a lock anew where the key is kept for a waiter",
    edits: [{ file: RECORD, find: "if (reservedNow(line, context) !== undefined)", put: "if (false)" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 3_000,
  },
  {
    name: "whoever leaves gives up what is kept for another",
    edits: [{ file: LINE, find: "line.reserved?.id === id ? undefined : line.reserved", put: "undefined" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 200,
  },
  {
    name: "a called waiter that leaves calls nobody",
    edits: [{ file: RECORD, find: "if (wasCalled)", put: "if (false)" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 200,
  },
  {
    name: "a release that released nothing calls the next",
    edits: [{ file: MEMORY, find: 'if (reply === "released")', put: "if (true)" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 50,
  },
  {
    name: "a waiter that won stays in line",
    edits: [{ file: RECORD, find: 'line: without(waiting, ticket?.id ?? "")', put: "line: waiting" }],
    seenBy: ["line"],
    profile: "queue",
    worlds: 200,
  },
  {
    name: "a call wakes nobody",
    edits: [{ file: CALLS, find: "wake?.();", put: "" }],
    seenBy: ["waking"],
    profile: "queue",
    worlds: 100,
  },
  {
    name: "one call is not enough, whatever time passes",
    edits: [
      {
        file: CALLS,
        find: "if (tryAt < at)\n                                    [at, isOwn] = [tryAt, own];",
        put: "",
      },
    ],
    seenBy: ["waking"],
    profile: "queue",
    worlds: 200,
  },
  {
    name: "a waiter goes to the end of the line with every attempt",
    edits: [
      {
        file: CALLS,
        find: "return { id, since, waitsMs };",
        put: "return { id, since: system.propose(), waitsMs };",
      },
    ],
    seenBy: ["standstill"],
    profile: "outvoted",
    worlds: 1_000,
  },
  {
    name: "tickets count backwards, so that who came last goes first",
    edits: [
      {
        file: CALLS,
        find: "const since = system.propose();",
        put: "const since = 4000000000000000n - system.propose();",
      },
    ],
    seenBy: ["turns"],
    profile: "turns",
    worlds: 400,
  },
  {
    name: "what a lost attempt gives back does not name its ticket",
    edits: [{ file: POLL, find: "this.#abandoned ? undefined : this.#ticketNow()", put: "undefined" }],
    seenBy: ["standstill"],
    profile: "outvoted",
    worlds: 400,
  },
  {
    name: "backends order those who began to wait in the same millisecond by their own clocks",
    edits: [
      {
        file: LINE,
        find: "return a.id < b.id ? -1 : 1;",
        put: "return a.until < b.until ? -1 : 1;",
      },
    ],
    seenBy: ["standstill"],
    profile: "outvoted",
    worlds: 3_000,
  },
  {
    name: "an attempt keeps its votes until silent backends answer",
    edits: [{ file: POLL, find: "this.#yieldWhenDue();\n                return;", put: "return;" }],
    seenBy: ["standstill"],
    profile: "outvoted",
    worlds: 400,
  },
  {
    name: "an adoption asks nobody whether the lease still exists",
    edits: [
      {
        file: "src/lock/adopt",
        find: "const remainingMs = vouchedMs(handed, looked, elapsedMs(askedAt, system.now()));",
        put: "const { remainingMs } = handed;",
      },
      {
        file: "src/lock/adopt",
        find: "confirmed(claim, index, { at, incarnation });",
        put: "",
      },
      {
        file: "src/engine/adoption",
        find: "if (denied > seen.length - quorum)\n        return DENIED;",
        put: "",
      },
    ],
    seenBy: ["tokens", "exclusion", "resurrection"],
    profile: "clocks",
    worlds: 1_000,
  },
];
