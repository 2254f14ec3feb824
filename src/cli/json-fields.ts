/**
 * Every field that `--json` prints: the one table that docs/cli-json.md is generated from and that the tests compare the
 * output with. Fields are added, never renamed or removed, within a major version; each is always there.
 */
import type { CommandName } from "./command-table.js";

/** One field. */
export interface JsonField {
  /** Such as `backends[].role`. */
  readonly path: string;
  /** "token": a decimal number as text. Anything in double quotes is that very text. */
  readonly types: readonly string[];
  readonly about: string;
}

const words = (...all: readonly string[]): readonly string[] => all.map((each) => `"${each}"`);

const BACKEND_ERROR: readonly JsonField[] = [
  { path: "code", types: ["string", "null"], about: "the code of its fault, as in errors.md" },
  { path: "error", types: ["string", "null"], about: "the fault in words" },
];

const REPORT: readonly JsonField[] = [
  { path: "key", types: ["string"], about: "what is locked" },
  {
    path: "state",
    types: words("held", "contended", "orphan", "free", "unknown"),
    about:
      "held: one owner has it on a quorum; contended: several owners, none on a quorum; orphan: one owner, on too few; " +
      "unknown: too few backends could tell",
  },
  {
    path: "owner",
    types: ["string", "null"],
    about: "of the holder, or of an orphan: the first 8 hex digits of the owner's SHA-256, as in the events",
  },
  { path: "token", types: ["token", "null"], about: "the holder's token, where enough backends show it" },
  {
    path: "remainingMs",
    types: ["integer", "null"],
    about:
      "held: until it ends unless it is extended; else until the last lock that was seen ends; null without one",
  },
  { path: "counter", types: ["token"], about: 'the highest number that a backend remembers; "0" for none' },
  { path: "quorum", types: ["integer"], about: "how many backends decide" },
  { path: "backends", types: ["array"], about: "in the order of the options" },
  { path: "backends[].backend", types: ["string"], about: "its name" },
  {
    path: "backends[].kind",
    types: words("locked", "free", "fault"),
    about: "what it has of the key, or that it did not say",
  },
  {
    path: "backends[].role",
    types: [...words("holder", "possible-holder", "ghost", "rival", "orphan"), "null"],
    about: "what its lock is; ghost: one that cannot win, beside a holder; null without a lock",
  },
  { path: "backends[].owner", types: ["string", "null"], about: "of its lock" },
  { path: "backends[].fence", types: ["token", "null"], about: "the number that it granted" },
  { path: "backends[].counter", types: ["token", "null"], about: "the highest number that it remembers" },
  { path: "backends[].remainingMs", types: ["integer", "null"], about: "until its lock ends" },
  {
    path: "backends[].quarantinedMs",
    types: ["integer", "null"],
    about: "for how long it does not vote; null when it does",
  },
  ...within("backends[]", BACKEND_ERROR),
];

const NOTE: readonly JsonField[] = [
  {
    path: "level",
    types: words("good", "warning", "problem"),
    about: "problem: a promise does not hold with it; warning: it may not",
  },
  {
    path: "topic",
    types: words(
      "version",
      "role",
      "durability",
      "eviction",
      "access",
      "clock",
      "storage",
      "answer",
      "service",
      "twin",
      "trial",
      "number",
    ),
    about: "what it is about",
  },
  { path: "text", types: ["string"], about: "in words, which may change" },
  { path: "remedy", types: ["string", "null"], about: "what to do about it, in words" },
];

/** By command. */
export const JSON_FIELDS: Readonly<Partial<Record<CommandName, readonly JsonField[]>>> = {
  inspect: REPORT,
  watch: [
    { path: "at", types: ["string"], about: "when it was seen, ISO 8601 in UTC, by this host's clock" },
    ...REPORT,
  ],
  list: [
    { path: "keys", types: ["array"], about: "sorted; each as inspect prints it" },
    ...within("keys[]", REPORT),
    { path: "backends", types: ["array"], about: "how each backend took part" },
    { path: "backends[].backend", types: ["string"], about: "its name" },
    {
      path: "backends[].outcome",
      types: words("listed", "quarantined", "unfinished", "failed"),
      about: "listed: whole, from one memory",
    },
    ...within("backends[]", BACKEND_ERROR),
    { path: "cutOff", types: ["boolean"], about: "whether it ended at --limit" },
    { path: "complete", types: ["boolean"], about: "whether no held lock can be missing" },
  ],
  config: [
    { path: "values", types: ["array"], about: "the backends, then every setting" },
    { path: "values[].key", types: ["string"], about: "such as ttl, backends[0].url or backends[0].tls.ca" },
    { path: "values[].value", types: ["string", "null"], about: "as a file has it; null for a secret" },
    { path: "values[].secret", types: ["boolean"], about: "whether it is one" },
    {
      path: "values[].source",
      types: words("option", "variable", "file", "default"),
      about: "option: of the command line",
    },
    {
      path: "values[].from",
      types: ["string", "null"],
      about: "the option, the variable, or file:line:column; null for a default",
    },
  ],
  check: [
    { path: "backends", types: ["array"], about: "in the order of the options" },
    { path: "backends[].backend", types: ["string"], about: "its name" },
    { path: "backends[].server", types: ["string", "null"], about: "product and version" },
    {
      path: "backends[].standing",
      types: words("votes", "quarantined", "new", "refused", "unreachable", "twin"),
      about:
        "new: never used; refused: it answers, but not to these options or this user; twin: the same server as one before",
    },
    {
      path: "backends[].latencyMs",
      types: ["number", "null"],
      about: "of one question on an open connection",
    },
    {
      path: "backends[].clockOffsetMs",
      types: ["integer", "null"],
      about: "how far its wall clock is ahead of this host's",
    },
    { path: "backends[].notes", types: ["array"], about: "problems first" },
    ...within("backends[].notes[]", NOTE),
    { path: "together", types: ["array"], about: "about all of them" },
    ...within("together[]", NOTE),
    { path: "votes", types: ["integer"], about: "how many vote now" },
    { path: "quorum", types: ["integer"], about: "how many must" },
  ],
};

function within(parent: string, fields: readonly JsonField[]): readonly JsonField[] {
  return fields.map((field) => ({ ...field, path: `${parent}.${field.path}` }));
}
