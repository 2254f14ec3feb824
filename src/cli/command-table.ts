/**
 * Every command with its arguments and options: the one table that the parser, the help, the completions and the tests
 * of the docs read. Data only, so that help and completion load nothing else.
 */
import type { RestartGuard } from "../backend.js";
import { EXIT, type ExitCode } from "./exit-codes.js";

/** An option of a command. */
export type OptionSpec = SwitchSpec | ValueSpec;

/** An option that is there or not. */
export interface SwitchSpec {
  readonly type: "boolean";
  /** For the help and completions: one short line. */
  readonly about: string;
  /** Without it the command does nothing. */
  readonly required?: true;
}

/** An option with a value. */
export interface ValueSpec {
  readonly type: "string";
  /** What stands for its value in the help. */
  readonly value: string;
  readonly about: string;
  /** May be given more than once. */
  readonly repeatable?: true;
  /** Without it the command does nothing. */
  readonly required?: true;
  /** All that it takes, where that is a short list. */
  readonly values?: readonly string[];
}

/** An argument without a dash. */
export interface PositionalSpec {
  readonly name: string;
  /** Completes "… is missing: ". */
  readonly about: string;
  readonly optional?: true;
  /** All that it takes, where that is a short list. */
  readonly values?: readonly string[];
}

/** One command. */
export interface CommandSpec {
  readonly name: string;
  /** For the list of commands; at most 60 characters. */
  readonly summary: string;
  readonly positionals: readonly PositionalSpec[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Whether `-- COMMAND [ARG...]` follows. */
  readonly runsCommand?: true;
  /** The rest of the help, below the options. Commands without it have a screen of their own. */
  readonly notes?: string;
  readonly exits?: readonly ExitCode[];
  /** Lines of one command. */
  readonly example?: readonly string[];
}

/** What `--restart-guard` takes. */
export const RESTART_GUARDS: readonly RestartGuard[] = ["auto", "strict", "off"];
/** What `--log-level` takes. */
export const LOG_LEVELS: readonly string[] = ["debug", "info", "warn", "error"];

/** How the common options are written; read by `common-options.ts`. */
export const COMMON_OPTIONS: {
  readonly [
    Name in "backend" | "config" | "quorum" | "max-ttl" | "clock-skew" | "restart-guard" | "log-level"
  ]: ValueSpec;
} & { readonly "require-quorum": SwitchSpec } = {
  backend: {
    type: "string",
    value: "URL",
    about: "a server that votes, once for each, as for run",
    repeatable: true,
  },
  config: { type: "string", value: "FILE", about: "the configuration, instead of quorum-lock.yaml" },
  "require-quorum": { type: "boolean", about: "refuse locks that only this host knows" },
  quorum: { type: "string", value: "N", about: "how many backends decide (a majority)" },
  "max-ttl": { type: "string", value: "60s", about: "the longest TTL that any user asks for" },
  "clock-skew": { type: "string", value: "1s", about: "how much wall clocks may differ" },
  "restart-guard": {
    type: "string",
    value: "auto",
    about: "what happens when servers restart and forget locks",
    values: RESTART_GUARDS,
  },
  "log-level": {
    type: "string",
    value: "LEVEL",
    about: "JSON on stderr, needs pino",
    values: LOG_LEVELS,
  },
};

const JSON_OPTION: OptionSpec = { type: "boolean", about: "JSON for programs; see docs/cli-json.md" };
const YES: OptionSpec = { type: "boolean", about: "do not ask" };
const KEY: PositionalSpec = { name: "KEY", about: "what is locked" };
const CHANGES = [EXIT.ok, { ...EXIT.problem, brief: "not confirmed" }, EXIT.usage, EXIT.unavailable];

const run: CommandSpec = {
  name: "run",
  summary: "run a command while holding a lock",
  positionals: [],
  runsCommand: true,
  options: {
    ...COMMON_OPTIONS,
    key: { type: "string", value: "KEY", about: "what is locked" },
    ttl: { type: "string", value: "30s", about: "how long the lock outlives a crash; extended meanwhile" },
    wait: { type: "string", value: "10s", about: "how long to wait for the lock; 0 tries once" },
    "kill-grace": {
      type: "string",
      value: "5s",
      about: "from SIGTERM to SIGKILL (default: a fifth of --ttl)",
    },
  },
};

const inspect: CommandSpec = {
  name: "inspect",
  summary: "say who holds a lock, and what each server says",
  positionals: [KEY],
  options: { json: JSON_OPTION, ...COMMON_OPTIONS },
  notes: `A lock is held when one owner has it on a quorum of servers. Anything less is
named: contended (several owners at once), orphan or ghost (too few servers; it
ends by itself), free, or unknown (too few servers answered).
Nothing is changed.`,
  exits: [EXIT.ok, EXIT.usage, EXIT.unavailable],
  example: ["quorum-lock inspect nightly --backend redis://a --backend redis://b", "--backend redis://c"],
};

const list: CommandSpec = {
  name: "list",
  summary: "show all locks, or those that begin with PREFIX",
  positionals: [{ name: "PREFIX", about: "what the keys begin with", optional: true }],
  options: {
    json: JSON_OPTION,
    limit: { type: "string", value: "1000", about: "stop after so many keys" },
    ...COMMON_OPTIONS,
  },
  notes: `Looks through all keys of each server, in small steps that hold nothing up.
Locks that come or go meanwhile may be missing or shown. Nothing is changed.`,
  exits: [EXIT.ok, EXIT.usage, EXIT.unavailable],
  example: ["quorum-lock list invoice: --backend redis://a --backend redis://b", "--backend redis://c"],
};

const watch: CommandSpec = {
  name: "watch",
  summary: "show a lock and what each server says, as it changes",
  positionals: [KEY],
  options: {
    json: { type: "boolean", about: "one JSON object a line, at each change" },
    every: { type: "string", value: "500ms", about: "how often to look" },
    ...COMMON_OPTIONS,
  },
  notes: `On a terminal it draws the same lines anew; in a pipe or file it prints one line
for each change. It ends with Ctrl-C. Nothing is changed.`,
  exits: [EXIT.usage],
  example: ["quorum-lock watch nightly --backend redis://a --backend redis://b", "--backend redis://c"],
};

const release: CommandSpec = {
  name: "release",
  summary: "take a lock away from its holder, by force",
  positionals: [KEY],
  options: {
    force: { type: "boolean", about: "only the holder can release without force", required: true },
    yes: YES,
    ...COMMON_OPTIONS,
  },
  notes: `This does not stop the holder: it goes on until its next extension tells it, so
two may be at work for that long. Guards refuse its writes once a newer holder
has written; without guards end its process first. Tokens go on increasing.`,
  exits: CHANGES,
  example: [
    "quorum-lock release nightly --force --backend redis://a",
    "--backend redis://b --backend redis://c",
  ],
};

const fence: CommandSpec = {
  name: "fence",
  summary: "make the next token of a key larger than one you name",
  positionals: [KEY],
  options: {
    "at-least": {
      type: "string",
      value: "TOKEN",
      about: "the highest token that the resource has seen",
      required: true,
    },
    yes: YES,
    ...COMMON_OPTIONS,
  },
  notes: `For a resource that refuses the writes of every new holder (StaleTokenError),
since the servers forgot their counters: give the "highest" of the error. It
never lowers anything, and locks stay. A far too large token cannot be undone.`,
  exits: CHANGES,
  example: [
    "quorum-lock fence nightly --at-least 1763900000000000",
    "--backend redis://a --backend redis://b --backend redis://c",
  ],
};

const init: CommandSpec = {
  name: "init",
  summary: 'put new servers into service, once, under "strict"',
  positionals: [],
  options: { yes: YES, ...COMMON_OPTIONS },
  notes: `Under --restart-guard strict new servers grant nothing until this was run once
(or one quarantine has passed). All must answer. It asks where a server was in
use before: then it ends a quarantine that protects locks which the server may
have forgotten, and two may hold one lock.`,
  exits: CHANGES,
  example: [
    "quorum-lock init --restart-guard strict --backend redis://a",
    "--backend redis://b --backend redis://c",
  ],
};

const quarantine: CommandSpec = {
  name: "quarantine",
  summary: "keep a restored server from voting until it is safe",
  positionals: [{ name: "BACKEND", about: "the name of the server, as check shows it" }],
  options: { yes: YES, ...COMMON_OPTIONS },
  notes: `After a restore from a backup, which no server notices: it may have forgotten
locks that are still held. It does not vote for one quarantine (--max-ttl and a
little more, about a minute); locks that it has may be extended meanwhile.
Name all --backend URLs, not only the restored one.`,
  exits: CHANGES,
  example: ["quorum-lock quarantine a:6379 --backend redis://a", "--backend redis://b --backend redis://c"],
};

const check: CommandSpec = {
  name: "check",
  summary: "find out whether the servers are fit for locks",
  positionals: [],
  options: {
    json: JSON_OPTION,
    "read-only": { type: "boolean", about: "store nothing: no trial locks" },
    ...COMMON_OPTIONS,
  },
  notes: `For each server: whether it answers and how fast, version, role, durability,
eviction, clock, rights of its user, whether it votes, whether it is another's
twin; and trial locks under own keys, gone after the longest TTL. Give all
options that your programs use. A warning is told, and counts as all well.`,
  exits: [EXIT.ok, { ...EXIT.problem, brief: "a problem was found" }, EXIT.usage],
  example: ["quorum-lock check --backend redis://a --backend redis://b", "--backend redis://c"],
};

const config: CommandSpec = {
  name: "config",
  summary: "show the configuration in effect, and where it is from",
  positionals: [],
  options: {
    json: JSON_OPTION,
    ttl: { type: "string", value: "30s", about: "as for run" },
    wait: { type: "string", value: "10s", about: "as for run" },
    ...COMMON_OPTIONS,
  },
  notes: `The command line is stronger than the variables QUORUM_LOCK_..., those than the
file quorum-lock.yaml of the working directory (or --config FILE, or the one of
QUORUM_LOCK_CONFIG), that than the defaults: see docs/configuration.md. No
password is shown, and no server is asked: for that there is check.`,
  exits: [EXIT.ok, EXIT.usage],
  example: ["QUORUM_LOCK_BACKENDS=redis://a,redis://b quorum-lock config"],
};

const completion: CommandSpec = {
  name: "completion",
  summary: "print a completion script for bash or zsh",
  positionals: [{ name: "SHELL", about: "bash or zsh", values: ["bash", "zsh"] }],
  options: {},
  notes: `For bash, in ~/.bashrc:
  source <(quorum-lock completion bash)
For zsh, as a file in a folder of $fpath:
  quorum-lock completion zsh > ~/.zfunc/_quorum-lock`,
  exits: [EXIT.ok, EXIT.usage],
};

const demo: CommandSpec = {
  name: "demo",
  summary: "watch a lock survive dead servers and a paused holder",
  positionals: [],
  options: { fast: { type: "boolean", about: "without pauses for reading" } },
};

/** The name of a command. */
export type CommandName =
  | "demo"
  | "run"
  | "inspect"
  | "list"
  | "watch"
  | "release"
  | "fence"
  | "init"
  | "quarantine"
  | "check"
  | "config"
  | "completion";

/** All commands, in the order of the help. */
export const COMMANDS: Readonly<Record<CommandName, CommandSpec>> = {
  demo,
  run,
  inspect,
  list,
  watch,
  release,
  fence,
  init,
  quarantine,
  check,
  config,
  completion,
};
