/** A backend that locks nothing, for tests and development. */
import { given, type Kind } from "../kind.js";

/** `noop:` */
export const noopKind: Kind = {
  kind: "noop",
  schemes: { noop: { tls: false } },
  forms: "noop: (no lock at all: for tests, and beside no other backend)",
  fields: ["name"],
  hosts: "none",
  port: 0,
  pathIs: "nothing",
  packages: [],
  async open({ fields }) {
    const { noop } = await import("../../adapters/noop.js");
    // Who reads the configuration is warned already.
    return { backend: noop({ ...given(fields, "name"), quiet: true }), close: async () => undefined };
  },
};
