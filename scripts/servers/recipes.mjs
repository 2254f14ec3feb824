// The servers the tests know: where Debian has them, and the container image that stands in elsewhere.
// @ts-check

/** @typedef {"redis-7" | "redis-8" | "valkey-8"} ServerName */

/**
 * @typedef {object} Recipe
 * @property {"bookworm" | "trixie"} suite the Debian release that has this version
 * @property {string} packageName
 * @property {string} binary inside the package
 * @property {string} program the name the binary must be called by, and the one looked for on PATH
 * @property {string} image
 */

// The server is one binary with redis-check-rdb: it looks at argv[0] to know which of the two it is. It lies in the -tools package; the
// -server package only adds a link, a user and a service.
/** @type {Readonly<Record<ServerName, Recipe>>} */
export const recipes = {
  "redis-7": {
    suite: "bookworm",
    packageName: "redis-tools",
    binary: "usr/bin/redis-check-rdb",
    program: "redis-server",
    image: "redis:7",
  },
  "redis-8": {
    suite: "trixie",
    packageName: "redis-tools",
    binary: "usr/bin/redis-check-rdb",
    program: "redis-server",
    image: "redis:8",
  },
  "valkey-8": {
    suite: "trixie",
    packageName: "valkey-tools",
    binary: "usr/bin/valkey-check-rdb",
    program: "valkey-server",
    image: "valkey/valkey:8",
  },
};

/** @type {readonly ServerName[]} */
export const serverNames = ["redis-7", "redis-8", "valkey-8"];

/** @param {string} text @returns {text is ServerName} */
export function isServerName(text) {
  return Object.hasOwn(recipes, text);
}
