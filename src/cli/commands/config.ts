/** `quorum-lock config`: the configuration in effect, with the source of each value. */
import { describeConfig, type DescribedValue } from "../../config/describe.js";
import { embeddedPath } from "../../config/embedded.js";
import type { Config } from "../../config/read-config.js";
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { readCommonSettings } from "../common-options.js";
import { RUN_TTL_MS_DEFAULT } from "../run-settings.js";
import { EXIT } from "../exit-codes.js";
import { printJson } from "../json.js";
import { coloursOfStdout, print, tell } from "../terminal.js";

const SOURCE_WORDS: Readonly<Record<DescribedValue["source"], string>> = {
  code: "code",
  option: "command line",
  variable: "variable",
  file: "file",
  default: "default",
};
const SECRET = "(not shown)";

/** Runs it; resolves to the exit code. */
export const config: Run = command(COMMANDS.config, async (given) => {
  const settings = readCommonSettings("config", given);
  const values = valuesOf(settings.config);
  for (const warning of settings.config.warnings) tell(warning);
  if (given.has("json")) printJson({ values: values.map(asJson) });
  else print(asText(values));
  return EXIT.ok.code;
});

/** As the other commands have them: with the embedded default where nothing else is configured. */
function valuesOf(found: Config): readonly DescribedValue[] {
  const values = describeConfig(found, RUN_TTL_MS_DEFAULT);
  if (found.backends.length > 0) return values;
  const value = `sqlite:${embeddedPath(process.env)}`;
  return [{ key: "backends[0].url", value, source: "default", from: null }, ...values];
}

function asJson({ key, value, source, from }: DescribedValue): object {
  return { key, value, secret: value === null, source, from };
}

function asText(values: readonly DescribedValue[]): string {
  const { dim } = coloursOfStdout();
  const rows = values.map(({ key, value, source, from }) => ({
    key,
    value: value ?? SECRET,
    source: from === null ? SOURCE_WORDS[source] : `${SOURCE_WORDS[source]} ${from}`,
  }));
  const width = (of: "key" | "value"): number => Math.max(...rows.map((row) => row[of].length));
  const [keys, texts] = [width("key"), Math.min(width("value"), 60)];
  return rows
    .map(({ key, value, source }) => `${key.padEnd(keys)}  ${value.padEnd(texts)}  ${dim(source)}`)
    .join("\n");
}
