/** The command line of the simulation. */
import { CHECKERS } from "./checkers/all.js";
import { INSIDE_NAMES, OUTSIDE_NAMES, PROFILES, type ProfileName } from "./profiles.js";

/** What was asked for. */
export interface Arguments {
  readonly profiles: readonly ProfileName[];
  readonly seed: number | undefined;
  readonly seeds: number | undefined;
  readonly minutes: number | undefined;
  /** Indexes of the faults to keep, of one world. */
  readonly faults: readonly number[] | undefined;
  readonly trace: boolean;
  readonly svg: string | undefined;
  readonly hash: boolean;
  readonly record: boolean;
  readonly mutants: boolean;
  readonly full: boolean;
  readonly only: string | undefined;
  /** A checker that does not look. */
  readonly without: string | undefined;
  readonly help: boolean;
}

/** A wrong option, in one line. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

export const HELP = `npm run sim -- [options]

Runs seeded worlds of the production locker and stops at the first broken promise, with the shortest list of faults
that still breaks it, a timeline, and the command that shows it again.

  --profile NAME   one kind of world, again for more; or "inside" (default), "outside", "all"
  --seeds N        so many seeds of each profile (default 100)
  --seed S         the first seed; without --seeds and --minutes one world, with its timeline
  --minutes M      for so long
  --trace          with --seed: every event, one line each
  --faults LIST    with --seed and one --profile: only these faults of its list, such as 0,4,7; "none"
  --svg FILE       with --seed and one --profile: the timeline as a picture
  --hash           with --seeds: a hash over the traces of all worlds, the same on every Node
  --record         writes the figures of the run for docs/simulation.md
  --mutants        plants bugs instead (npm run sim:mutants): each must be seen within its budget
  --full           with --mutants: from the first seed on, not from just before the recorded find
  --only TEXT      with --mutants: those whose name contains it
  --without NAME   with --mutants: this checker does not look, and any other one may see the bug
  --help

Profiles inside the assumptions: ${INSIDE_NAMES.join(", ")}
and outside: ${OUTSIDE_NAMES.join(", ")}`;

const NUMBERS = ["--seed", "--seeds", "--minutes"] as const;
const TEXTS = ["--profile", "--faults", "--svg", "--only", "--without"] as const;
const FLAGS = ["--trace", "--hash", "--record", "--mutants", "--full", "--help"] as const;

/** Throws a {@link UsageError}. */
export function parseArguments(args: readonly string[]): Arguments {
  const numbers = new Map<string, number>();
  const texts = new Map<string, string[]>();
  const flags = new Set<string>();
  for (let i = 0; i < args.length; i++) {
    const [option = "", inline] = (args[i] ?? "").split(/=(.*)/s);
    if ((FLAGS as readonly string[]).includes(option) && inline === undefined) {
      flags.add(option);
      continue;
    }
    const isNumber = (NUMBERS as readonly string[]).includes(option);
    if (!isNumber && !(TEXTS as readonly string[]).includes(option)) {
      throw new UsageError(`unknown option ${args[i]}; --help lists them`);
    }
    const value = inline ?? args[++i];
    if (value === undefined || value === "") throw new UsageError(`${option} needs a value`);
    if (isNumber) numbers.set(option, toNumber(option, value));
    else texts.set(option, [...(texts.get(option) ?? []), value]);
  }
  const parsed: Arguments = {
    profiles: toProfiles(texts.get("--profile") ?? ["inside"]),
    seed: numbers.get("--seed"),
    seeds: numbers.get("--seeds"),
    minutes: numbers.get("--minutes"),
    faults: toIndexes(texts.get("--faults")?.at(-1)),
    trace: flags.has("--trace"),
    svg: texts.get("--svg")?.at(-1),
    hash: flags.has("--hash"),
    record: flags.has("--record"),
    mutants: flags.has("--mutants"),
    full: flags.has("--full"),
    only: texts.get("--only")?.at(-1),
    without: texts.get("--without")?.at(-1),
    help: flags.has("--help"),
  };
  refuseContradictions(parsed);
  return parsed;
}

/** Whether one world of each profile is meant. */
export function isSingle({ seed, seeds, minutes }: Arguments): boolean {
  return seed !== undefined && seeds === undefined && minutes === undefined;
}

function refuseContradictions(parsed: Arguments): void {
  const single = isSingle(parsed);
  if (parsed.trace && !single) throw new UsageError("--trace needs --seed without --seeds and --minutes");
  if ((parsed.svg ?? parsed.faults) !== undefined && !(single && parsed.profiles.length === 1)) {
    throw new UsageError("--svg and --faults need --seed and one --profile");
  }
  if (!parsed.mutants && (parsed.full || (parsed.only ?? parsed.without) !== undefined)) {
    throw new UsageError("--full, --only and --without need --mutants");
  }
  if (parsed.without !== undefined && !Object.hasOwn(CHECKERS, parsed.without)) {
    throw new UsageError(
      `--without must be one of ${Object.keys(CHECKERS).join(", ")}; got ${parsed.without}`,
    );
  }
  if (parsed.hash && parsed.minutes !== undefined)
    throw new UsageError("--hash needs --seeds, not --minutes");
}

function toNumber(option: string, value: string): number {
  const number = Number(value);
  const whole = option !== "--minutes";
  if (!(number > 0) || (whole && !Number.isSafeInteger(number)) || number > 2 ** 40) {
    throw new UsageError(`${option} must be a ${whole ? "whole " : ""}number above 0; got ${value}`);
  }
  return number;
}

function toProfiles(names: readonly string[]): readonly ProfileName[] {
  return names.flatMap((name): readonly ProfileName[] => {
    if (name === "inside") return INSIDE_NAMES;
    if (name === "outside") return OUTSIDE_NAMES;
    if (name === "all") return [...INSIDE_NAMES, ...OUTSIDE_NAMES];
    if (Object.hasOwn(PROFILES, name)) return [name as ProfileName];
    throw new UsageError(
      `--profile must be inside, outside, all or one of ${Object.keys(PROFILES).join(", ")}; got ${name}`,
    );
  });
}

function toIndexes(value: string | undefined): readonly number[] | undefined {
  if (value === undefined) return undefined;
  if (value === "none") return [];
  return value.split(",").map((part) => {
    if (!/^\d+$/.test(part))
      throw new UsageError(`--faults must be numbers such as 0,4,7 or "none"; got ${value}`);
    return Number(part);
  });
}
