/** `quorum-lock/config`: the configuration of files and variables, for programs. */
export type { BackendDescription, BackendProperties } from "./code.js";
export type { DescribedValue } from "./describe.js";
export { loadConfig } from "./load-config.js";
export type { LoadConfigOptions, LoadedConfig } from "./load-config.js";
