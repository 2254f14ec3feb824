// The servers the tests know: where Debian has them, and the container image that stands in elsewhere.
// @ts-check

/**
 * @typedef {"redis-7" | "redis-8" | "valkey-8" | "postgres" | "mariadb" | "etcd-3.4" | "etcd-3.5" | "memcached-1.6.18"
 *   | "memcached-1.6.38"} ServerName what follows the last hyphen is the version
 */

/**
 * @typedef {object} Recipe
 * @property {"bookworm" | "trixie"} suite the Debian release that has this version
 * @property {string} packageName
 * @property {string} binary inside the package
 * @property {string} program the name the binary must be called by, and the one looked for on PATH
 * @property {string} image
 * @property {true} [imageWithoutShell]
 * @property {true} [answersPing] it speaks the protocol of Redis, and is asked once before it counts as brought
 * @property {Installation} [installation] where the server is more than one program; the test harness then runs it from Debian packages only
 */

/**
 * What else a server needs of its packages, at the same places as there, since it looks for its files relative to itself.
 * @typedef {object} Installation
 * @property {readonly string[]} programs below usr/, beside `binary`
 * @property {readonly string[]} trees below usr/, copied whole
 * @property {readonly string[]} without names inside the trees that are left out
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
    answersPing: true,
    image: "redis:7",
  },
  "redis-8": {
    suite: "trixie",
    packageName: "redis-tools",
    binary: "usr/bin/redis-check-rdb",
    program: "redis-server",
    answersPing: true,
    image: "redis:8",
  },
  "valkey-8": {
    suite: "trixie",
    packageName: "valkey-tools",
    binary: "usr/bin/valkey-check-rdb",
    program: "valkey-server",
    answersPing: true,
    image: "valkey/valkey:8",
  },
  postgres: {
    suite: "bookworm",
    packageName: "postgresql-15",
    binary: "usr/lib/postgresql/15/bin/postgres",
    program: "postgres",
    image: "postgres:15",
    installation: {
      programs: ["lib/postgresql/15/bin/initdb"],
      trees: ["lib/postgresql/15/lib", "share/postgresql/15"],
      without: ["bitcode", "llvmjit.so", "llvmjit_types.bc", "man"],
    },
  },
  mariadb: {
    suite: "bookworm",
    packageName: "mariadb-server-core",
    binary: "usr/sbin/mariadbd",
    program: "mariadbd",
    image: "mariadb:10.11",
    installation: {
      programs: [],
      trees: ["share/mysql"],
      without: [],
    },
  },
  "etcd-3.4": {
    suite: "bookworm",
    packageName: "etcd-server",
    binary: "usr/bin/etcd",
    program: "etcd",
    image: "quay.io/coreos/etcd:v3.4.23",
    imageWithoutShell: true,
  },
  "etcd-3.5": {
    suite: "trixie",
    packageName: "etcd-server",
    binary: "usr/bin/etcd",
    program: "etcd",
    image: "quay.io/coreos/etcd:v3.5.16",
    imageWithoutShell: true,
  },
  "memcached-1.6.18": {
    suite: "bookworm",
    packageName: "memcached",
    binary: "usr/bin/memcached",
    program: "memcached",
    image: "memcached:1.6.18",
  },
  "memcached-1.6.38": {
    suite: "trixie",
    packageName: "memcached",
    binary: "usr/bin/memcached",
    program: "memcached",
    image: "memcached:1.6.38",
  },
};

/** Fetched with what depends on them, but not unpacked: large, and needed by nothing that is kept. */
export const notUnpacked = new Set([
  "libllvm14",
  "libz3-4",
  "locales",
  "perl-base",
  "perl-modules-5.36",
  "libperl5.36",
]);

export const serverNames = /** @type {ServerName[]} */ (Object.keys(recipes));

/** @param {string} text @returns {text is ServerName} */
export function isServerName(text) {
  return Object.hasOwn(recipes, text);
}
