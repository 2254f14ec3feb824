// The sources of a configuration as tests write them.
import { readCode, type CodeOptions } from "../../src/config/code.ts";
import { readEnvironment, type Environment } from "../../src/config/environment.ts";
import { readYaml } from "../../src/config/file.ts";
import { NOTHING, type RawConfig } from "../../src/config/raw.ts";
import { readConfig, type Config } from "../../src/config/read-config.ts";
import { flagOf, type SettingName } from "../../src/config/schema.ts";

/** All sources at once; what is missing says nothing. */
export interface Written {
  readonly code?: CodeOptions;
  /** By setting; the backends as URLs. */
  readonly options?: Partial<Record<SettingName, string>>;
  readonly urls?: readonly string[];
  readonly env?: Environment;
  readonly yaml?: string;
}

export function read(written: Written): Config {
  const { code, env = {}, yaml } = written;
  return readConfig([
    code === undefined ? NOTHING : readCode(code),
    commandLine(written),
    readEnvironment(env),
    yaml === undefined ? NOTHING : readYaml(yaml, "quorum-lock.yaml", env),
  ]);
}

function commandLine({ options = {}, urls }: Written): RawConfig {
  const place = (name: string) => ({ kind: "option", name }) as const;
  return {
    ...NOTHING,
    settings: new Map(
      Object.entries(options).map(([name, text]) => {
        const setting = name as SettingName;
        return [setting, { text, place: place(flagOf(setting)), secret: false }];
      }),
    ),
    backends:
      urls === undefined
        ? undefined
        : {
            place: place("--backend"),
            backends: urls.map((text) => ({
              url: { text, place: place("--backend"), secret: false },
              fields: new Map(),
            })),
          },
  };
}

/** The message of what is thrown. */
export function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}
