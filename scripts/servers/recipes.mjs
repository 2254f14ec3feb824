// The servers the tests know: where Debian has them, and the container image that stands in elsewhere.
// @ts-check

/**
 * @typedef {"redis-7" | "redis-8" | "valkey-8" | "postgres" | "mariadb" | "etcd-3.4" | "etcd-3.5" | "memcached-1.6.18"
 *   | "memcached-1.6.38" | "consul" | "zookeeper" | "mongodb"} ServerName what follows a hyphen is the version
 */

/**
 * @typedef {object} Recipe
 * @property {"bullseye" | "bookworm" | "trixie"} suite the Debian release that has this version
 * @property {string} packageName the server's own package
 * @property {readonly string[]} [furtherPackages] what it does not depend on and yet needs here, or takes files from beside libraries
 * @property {true} [versionOfPackage] the version is the package's, because `binary` has another one
 * @property {string} binary inside the packages; ARCH stands for Debian's name of the architecture and TRIPLET for that of its library
 *   folder, here and below
 * @property {string} program the name the binary must be called by, and the one looked for on PATH
 * @property {string} image
 * @property {true} [imageWithoutShell]
 * @property {true} [answersPing] it speaks the protocol of Redis, and is asked once before it counts as brought
 * @property {Installation} [installation] where the server is more than one program
 * @property {Wheels} [wheels] where Debian has only what the server runs on
 * @property {true} [standsIn] what is brought is not the product of that name; where Docker answers, the product itself is taken
 * @property {true} [onlyFromPackages] the test harness runs it neither in a container nor from PATH
 */

/**
 * What else a server needs of its packages, at the same places as there, since it looks for its files relative to itself.
 * @typedef {object} Installation
 * @property {readonly string[]} programs below usr/, beside `binary`
 * @property {readonly string[]} [libraries] below usr/, loaded later by the programs: what they need is brought too
 * @property {readonly string[]} trees below usr/, copied whole
 * @property {readonly string[]} [files] below usr/
 * @property {readonly string[]} without names inside the trees that are left out
 */

/**
 * Python packages that are brought beside those of Debian.
 * @typedef {object} Wheels
 * @property {string} requirements a file beside this one
 * @property {string} folder below usr/, where they are put
 * @property {string} version of the server among them
 * @property {string} source for people
 * @property {readonly string[]} proof arguments for the program: it must load all of them
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
    onlyFromPackages: true,
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
    onlyFromPackages: true,
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
  // Debian has had no later one.
  consul: {
    suite: "bullseye",
    packageName: "consul",
    binary: "usr/bin/consul",
    program: "consul",
    image: "consul:1.8",
  },
  // With the Java it runs on, so that the machine need not have one and it makes no difference which it has.
  zookeeper: {
    suite: "bookworm",
    packageName: "libzookeeper-java",
    furtherPackages: [
      "openjdk-17-jre-headless",
      "libdropwizard-metrics-java",
      "libslf4j-java",
      "libsnappy-java",
    ],
    versionOfPackage: true,
    binary: "usr/lib/jvm/java-17-openjdk-ARCH/bin/java",
    program: "zkServer.sh",
    image: "zookeeper:3.8",
    installation: {
      programs: [],
      libraries: ["libjava.so", "libnet.so", "libnio.so", "libzip.so", "server/libjvm.so"].map(
        (name) => `lib/jvm/java-17-openjdk-ARCH/lib/${name}`,
      ),
      trees: ["lib/jvm/java-17-openjdk-ARCH"],
      // What compiles, draws, debugs, and starts a little sooner.
      without: [
        "bin",
        "ct.sym",
        "docs",
        "jfr",
        "legal",
        "man",
        "classes.jsa",
        "classes_nocoops.jsa",
        "libawt.so",
        "libjdwp.so",
        "libjsvml.so",
        "libmlib_image.so",
      ],
      files: ["zookeeper", "zookeeper-jute", "metrics-core", "slf4j-api", "slf4j-simple", "snappy-java"].map(
        (name) => `share/java/${name}.jar`,
      ),
    },
  },
  // No MongoDB is in Debian or in any package registry. This one speaks its protocol over the same storage engine (WiredTiger) and runs update
  // pipelines. Seen to differ: it compares dates of a pipeline with $$NOW wrongly (numbers of milliseconds, through $toLong, rightly), and of
  // upserts that race for a new document all but one answer null.
  mongodb: {
    suite: "bookworm",
    packageName: "python3.11",
    furtherPackages: ["python3-pip", "python3-distutils", "libstdc++6"],
    binary: "usr/bin/python3.11",
    program: "mongod",
    image: "mongo:7",
    standsIn: true,
    wheels: {
      requirements: "mongodb-requirements.txt",
      folder: "lib/python3/server",
      version: "0.7.0b3",
      source: "secantusdb 0.7.0b3, which stands in for MongoDB,",
      proof: ["-c", "import secantus.cli, secantus.server, shapely, _ssl, _ctypes, _bz2, _lzma, _uuid"],
    },
    installation: {
      programs: [],
      libraries: ["_bz2", "_ctypes", "_hashlib", "_lzma", "_ssl", "_uuid"].map(
        (name) => `lib/python3.11/lib-dynload/${name}.cpython-311-TRIPLET.so`,
      ),
      trees: ["lib/python3.11", "lib/python3/server"],
      without: ["EXTERNALLY-MANAGED", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "tests", "admin"],
    },
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

/** @param {ServerName} name @param {{ architecture: string, triplet: string }} platform what to put for ARCH and TRIPLET @returns {Recipe} */
export function recipeFor(name, platform) {
  const text = JSON.stringify(recipes[name]).replaceAll("ARCH", platform.architecture);
  return /** @type {Recipe} */ (JSON.parse(text.replaceAll("TRIPLET", platform.triplet)));
}

/** @param {string} text @returns {text is ServerName} */
export function isServerName(text) {
  return Object.hasOwn(recipes, text);
}
