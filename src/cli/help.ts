/** The help of a command, from its entry in the table; one screen of 80 x 24. */
import {
  COMMANDS,
  COMMON_OPTIONS,
  LOG_LEVELS,
  RESTART_GUARDS,
  type CommandSpec,
  type OptionSpec,
} from "./command-table.js";
import { listCodes } from "./exit-codes.js";
import { wrapped } from "./terminal.js";

const COLUMN = 21;

/** The help of `quorum-lock` itself. */
export function mainHelp(): string {
  const commands = Object.values(COMMANDS).map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`);
  return `quorum-lock - locks that a majority of independent servers grants

  quorum-lock COMMAND [options]   quorum-lock COMMAND --help   --version

${commands.join("\n")}

Examples:
  quorum-lock demo
  quorum-lock run --key hello -- echo locked        (locks of this host)

Servers need the package of their client (Redis: npm install ioredis). One
protects as long as it lives, three or five as long as most of them live.`;
}

/** The help of a command that has no screen of its own. */
export function helpOf(spec: CommandSpec): string {
  const { name, summary, positionals, options, notes, exits, example } = spec;
  const own = Object.entries(options).filter(([option]) => !(option in COMMON_OPTIONS));
  const hasCommon = "backend" in options;
  return [
    `quorum-lock ${name} - ${summary}`,
    "",
    `  ${usageOf(spec)}`,
    "",
    ...positionals.map((each) => row(each.name, each.about)),
    ...own.map(([option, each]) => row(optionText(option, each), each.about)),
    ...(hasCommon ? commonRows() : []),
    "",
    ...(notes === undefined ? [] : [notes]),
    ...(exits === undefined ? [] : [wrapped(`Exit codes: ${listCodes(exits)}, 130 after Ctrl-C.`)]),
    ...(example === undefined ? [] : [`Example: ${example.join(` \\\n${" ".repeat(11)}`)}`]),
  ].join("\n");
}

/** How a command is called, in one line. */
export function usageOf({ name, positionals, options, runsCommand }: CommandSpec): string {
  const words = positionals.map((each) => (each.optional === true ? `[${each.name}]` : each.name));
  const required = Object.entries(options)
    .filter(([, each]) => each.required === true)
    .map(([option, each]) => optionText(option, each));
  const others = Object.keys(options).length === 0 ? [] : ["[options]"];
  const command = runsCommand === true ? ["-- COMMAND [ARG...]"] : [];
  return ["quorum-lock", name, ...words, ...required, ...others, ...command].join(" ");
}

function commonRows(): readonly string[] {
  const { backend, config, quorum, "max-ttl": maxTtl, "clock-skew": skew } = COMMON_OPTIONS;
  return [
    row(optionText("backend", backend), backend.about),
    `  --config ${config.value}      else quorum-lock.yaml if there; --require-quorum as for run`,
    `  --quorum ${quorum.value}  --max-ttl ${maxTtl.value}  --clock-skew ${skew.value}   one figure for all users`,
    row("--restart-guard", `${RESTART_GUARDS.join("|")}, as for run`),
    row("--log-level", `${LOG_LEVELS.join("|")}; JSON on stderr, needs pino`),
  ];
}

function row(name: string, about: string): string {
  return `  ${name}`.padEnd(COLUMN - 1).concat(" ", about);
}

function optionText(option: string, spec: OptionSpec): string {
  return spec.type === "boolean" ? `--${option}` : `--${option} ${spec.value}`;
}
