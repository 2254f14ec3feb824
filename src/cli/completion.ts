/** Completion scripts for bash and zsh, made from the table of commands; they run nothing but themselves. */
import { COMMANDS, type CommandSpec, type OptionSpec } from "./command-table.js";

const PROGRAM = "quorum-lock";
/** What a shell completes by itself where no list is known: backends are URLs, keys are anybody's. */
const WITH_HELP: OptionSpec = { type: "boolean", about: "options and exit codes" };

/** For `source <(quorum-lock completion bash)`. Works without the package bash-completion. */
export function bashCompletion(): string {
  const commands = Object.values(COMMANDS);
  return `# bash completion for ${PROGRAM}, made by: ${PROGRAM} completion bash
_quorum_lock() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[1]} i
  COMPREPLY=()
  # --option=value comes as three words.
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")} help --help --version" -- "$word"))
    return
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    # What follows -- is another command's.
    if [[ \${COMP_WORDS[i]} == -- ]]; then
      local IFS=$'\\n'
      COMPREPLY=($(compgen -c -- "$word"; compgen -f -- "$word"))
      return
    fi
  done
  case "$command $before" in
${valueCases(commands)}
  esac
  case $command in
${commands.map((spec) => `    ${spec.name}) COMPREPLY=($(compgen -W "${wordsOf(spec).join(" ")}" -- "$word")) ;;`).join("\n")}
    help) COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")}" -- "$word")) ;;
  esac
}
complete -F _quorum_lock ${PROGRAM}`;
}

/** For a file `_quorum-lock` in a folder of `$fpath`, or for `source <(quorum-lock completion zsh)` after compinit. */
export function zshCompletion(): string {
  const commands = Object.values(COMMANDS);
  return `#compdef ${PROGRAM}
# zsh completion for ${PROGRAM}, made by: ${PROGRAM} completion zsh
_quorum_lock() {
  local -a known
  known=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`).join("\n")}
    ${quoted("help:options and exit codes of a command")}
  )
  if ((CURRENT == 2)); then
    _describe -t commands command known
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  # What follows -- is another command's, or no option.
  local dashes=\${words[(ie)--]}
  if ((dashes < CURRENT)); then
    shift $dashes words
    ((CURRENT -= dashes))
    _normal
    return
  fi
  case $command in
${commands.map(zshCase).join("\n")}
    help) _arguments '1: :(${commands.map(({ name }) => name).join(" ")})' ;;
  esac
}
if [[ $funcstack[1] == _quorum-lock ]]; then
  _quorum_lock "$@"
else
  compdef _quorum_lock ${PROGRAM}
fi`;
}

function optionsOf(spec: CommandSpec): readonly (readonly [string, OptionSpec])[] {
  return [...Object.entries(spec.options), ["help", WITH_HELP]];
}

/** What may stand where an option or argument begins. */
function wordsOf(spec: CommandSpec): readonly string[] {
  const listed = spec.positionals.flatMap(({ values = [] }) => values);
  const rest = spec.runsCommand === true ? ["--"] : [];
  return [...listed, ...optionsOf(spec).map(([name]) => `--${name}`), ...rest];
}

/** After an option with a value come its values, or nothing that could be known. */
function valueCases(commands: readonly CommandSpec[]): string {
  return commands
    .flatMap((spec) =>
      optionsOf(spec).flatMap(([name, option]) => {
        if (option.type === "boolean") return [];
        const { values } = option;
        const reply =
          values === undefined ? "" : `COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$word")); `;
        return [`    "${spec.name} --${name}") ${reply}return ;;`];
      }),
    )
    .join("\n");
}

function zshCase(spec: CommandSpec): string {
  const options = optionsOf(spec).map(([name, option]) => {
    const many = option.type === "string" && option.repeatable === true ? "*" : "";
    const about = option.about.replaceAll(/[[\]:]/g, String.raw`\$&`);
    if (option.type === "boolean") return quoted(`--${name}[${about}]`);
    const values = option.values === undefined ? " " : `(${option.values.join(" ")})`;
    return quoted(`${many}--${name}=[${about}]:${option.value}:${values}`);
  });
  const positionals = spec.positionals.map(({ name, values }, index) =>
    quoted(`${index + 1}:${name}:${values === undefined ? " " : `(${values.join(" ")})`}`),
  );
  return `    ${spec.name})
      _arguments -S \\
${[...options, ...positionals].map((each) => `        ${each}`).join(" \\\n")}
      ;;`;
}

/** As one word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
