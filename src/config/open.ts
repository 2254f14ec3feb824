/** Opens the backends of a configuration, with clients of their own. */
import type { Backend } from "../backend.js";
import { ConfigError, InvalidOptionError, QuorumLockError, show } from "../errors.js";
import { placeOfField, shownValue } from "./backend.js";
import { kindOf } from "./kinds.js";
import type { BackendSettings, OpenedBackend } from "./kind.js";

/** Backends with the clients that were opened for them. */
export interface OpenBackends {
  readonly backends: readonly Backend[];
  /** Closes the clients, after the locker was closed. Never rejects, and takes a second at most. */
  close(): Promise<void>;
}

const CLOSE_MS_MAX = 1_000;

/** Makes a client and a backend for each; most connect nothing yet. Rejects with a `QuorumLockError`. */
export async function openBackends(all: readonly BackendSettings[]): Promise<OpenBackends> {
  const opened: OpenedBackend[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map(closeInTime));
  };
  try {
    for (const settings of all) opened.push(await open(settings));
  } catch (error) {
    await close();
    throw error;
  }
  return { backends: opened.map(({ backend }) => backend), close };
}

async function open(settings: BackendSettings): Promise<OpenedBackend> {
  const kind = kindOf(settings.scheme);
  // Whoever read the settings knew it.
  if (kind === undefined) throw new ConfigError(settings.place, "of a known kind", show(settings.url));
  try {
    return await kind.open(settings);
  } catch (error) {
    throw explained(settings, error);
  }
}

/** Options of adapters, by the names of the properties that they come from. */
const PROPERTIES: Readonly<Record<string, string>> = {
  token: "password",
  requestTimeoutMs: "requestTimeout",
  callTimeoutMs: "requestTimeout",
};

/** What an adapter or client says of its options, with the place where they were configured. */
function explained(settings: BackendSettings, error: unknown): unknown {
  if (error instanceof InvalidOptionError) {
    const option = /\{ (\w+) \}/.exec(error.option)?.[1] ?? "url";
    const property = PROPERTIES[option] ?? option;
    const place = placeOfField(settings, property);
    const inUrl = place === settings.place;
    const rule = inUrl && property !== "url" ? `a URL whose ${property} is ${error.rule}` : error.rule;
    return new ConfigError(place, rule, shownValue(property, error.value));
  }
  if (error instanceof QuorumLockError) return error;
  // The message of a client may show what it was given, passwords included.
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const name = error instanceof Error ? error.name : "failure";
  const reason = typeof code === "string" ? code : name;
  return new ConfigError(settings.place, `a backend that can be opened (${reason})`, show(settings.url));
}

async function closeInTime({ close }: OpenedBackend): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_MS_MAX);
  });
  await Promise.race([close().catch(() => undefined), bound]);
  clearTimeout(timer);
}
