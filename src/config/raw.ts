/** What one source says, before any of it is read: the common form of files, variables, options and code. */
import type { ConfigPlace } from "../errors.js";
import type { Entry } from "./entry.js";
import type { FieldName, SettingName } from "./schema.js";

/** One source. */
export interface RawConfig {
  readonly settings: ReadonlyMap<SettingName, Entry>;
  /** The list of backends with where it stands; undefined where the source has none. */
  readonly backends: RawList | undefined;
  /** Properties for backends of any source's list: by number, from 1. */
  readonly fields: ReadonlyMap<number, ReadonlyMap<FieldName, Entry>>;
}

/** A list of backends. */
export interface RawList {
  readonly place: ConfigPlace;
  readonly backends: readonly RawBackend[];
}

/** One backend: its URL, and what stands beside it. */
export interface RawBackend {
  readonly url: Entry;
  readonly fields: ReadonlyMap<FieldName, Entry>;
}

/** A source that says nothing. */
export const NOTHING: RawConfig = { settings: new Map(), backends: undefined, fields: new Map() };
