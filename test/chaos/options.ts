/** The command line of a chaos run. */
import { parseArgs } from "node:util";
import { PLANTS, type Plant } from "./client-task.ts";
import { kindNames, kindOf } from "./kinds.ts";
import type { Kind } from "./kind.ts";
import { PHASES, type Phase } from "./phases.ts";

/** A set of backends. */
export interface BackendSet {
  readonly kinds: readonly Kind[];
  readonly quorum: number;
}

export interface ChaosOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly sets: readonly BackendSet[];
  readonly phases: readonly Phase[];
  readonly plant: Plant | undefined;
  /** Write the figures into docs/chaos.md. */
  readonly docs: boolean;
  readonly json: string | undefined;
  /** As it was typed. */
  readonly command: string;
}

export const HELP = `Usage: npm run chaos -- [options]

Contends for locks with client processes on real servers while faults are injected, checks the histories, and prints a verdict.
Exits with 1 when a promise was broken; the histories are kept then, and where is printed.

  --minutes M         how long, divided among phases and sets of backends (default 2; fractions are allowed)
  --backends N        how many backends (default: 3, 5 and 5 in turn)
  --quorum Q          how many decide (default: a majority; 4 for the second 5)
  --kinds A,B         kinds of backends, dealt out in turn (default redis; there are ${kindNames.join(", ")})
  --phase NAME        only this phase, may be repeated (default: all, in turn)
  --seed S            the plan of faults and what clients do; when things happen is real (default: random, printed)
  --plant NAME        break something on purpose; the verdict must see it
  --json FILE         also write the verdict there
  --docs              write the figures into docs/chaos.md
  --help

Phases:
${PHASES.map(({ name, what }) => `  ${name.padEnd(18)}  ${what}`).join("\n")}

Plants:
${Object.entries(PLANTS)
  .map(([name, what]) => `  ${name.padEnd(18)}  ${what}`)
  .join("\n")}
`;

/** Throws an error with one line for the user. */
export function parseOptions(words: readonly string[]): ChaosOptions | "help" {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: "string", default: "2" },
      backends: { type: "string" },
      quorum: { type: "string" },
      kinds: { type: "string", default: "redis" },
      phase: { type: "string", multiple: true, default: [] },
      seed: { type: "string" },
      plant: { type: "string" },
      json: { type: "string" },
      docs: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const minutes = number("--minutes", values.minutes, { min: 0.05, max: 1_440 });
  const seed =
    values.seed === undefined
      ? Math.floor(Math.random() * 1e9)
      : number("--seed", values.seed, { min: 0, max: 1e9 });
  const kinds = values.kinds.split(",").map(kindOf);
  const dealt = (n: number): readonly Kind[] =>
    Array.from({ length: n }, (_, index) => kinds[index % kinds.length] as Kind);
  const majority = (n: number): number => Math.floor(n / 2) + 1;
  const quorumOf = (n: number): number =>
    values.quorum === undefined
      ? majority(n)
      : number("--quorum", values.quorum, { min: majority(n), max: n });
  const n =
    values.backends === undefined ? undefined : number("--backends", values.backends, { min: 1, max: 9 });
  const sets: readonly BackendSet[] =
    n === undefined
      ? values.quorum === undefined
        ? [
            { kinds: dealt(3), quorum: 2 },
            { kinds: dealt(5), quorum: 3 },
            { kinds: dealt(5), quorum: 4 },
          ]
        : [{ kinds: dealt(3), quorum: quorumOf(3) }]
      : [{ kinds: dealt(n), quorum: quorumOf(n) }];
  return {
    minutes,
    seed,
    sets,
    phases: values.phase.length === 0 ? PHASES : values.phase.map(phaseOf),
    plant: values.plant === undefined ? undefined : plantOf(values.plant),
    docs: values.docs,
    json: values.json,
    command: ["npm run chaos --", ...words].join(" "),
  };
}

function phaseOf(name: string): Phase {
  const phase = PHASES.find((each) => each.name === name);
  if (phase === undefined)
    throw new Error(`--phase must be one of ${PHASES.map((each) => each.name).join(", ")}`);
  return phase;
}

function plantOf(name: string): Plant {
  if (!Object.hasOwn(PLANTS, name))
    throw new Error(`--plant must be one of ${Object.keys(PLANTS).join(", ")}`);
  return name as Plant;
}

function number(option: string, text: string, range: { readonly min: number; readonly max: number }): number {
  const value = Number(text);
  if (option !== "--minutes" && !Number.isInteger(value)) {
    throw new Error(`${option} must be a whole number, not ${JSON.stringify(text)}`);
  }
  if (text !== "" && value >= range.min && value <= range.max) return value;
  throw new Error(
    `${option} must be a number from ${range.min} to ${range.max}, not ${JSON.stringify(text)}`,
  );
}
