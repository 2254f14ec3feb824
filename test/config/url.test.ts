// URLs of every kind of backend.
import { describe, expect, test } from "vitest";
import { readBackend } from "../../src/config/backend.ts";
import type { Entry } from "../../src/config/entry.ts";
import type { BackendSettings } from "../../src/config/kind.ts";
import { KINDS } from "../../src/config/kinds.ts";
import { splitList } from "../../src/config/url.ts";

function entry(text: string): Entry {
  return { text, place: { kind: "option", name: "--backend" }, secret: false };
}

function read(url: string): BackendSettings {
  return readBackend({ url: entry(url), fields: new Map() }, new Map());
}

const one = (host: string, port: number): object => ({ hosts: [{ host, port }], path: undefined });

test.each<readonly [url: string, expected: object]>([
  ["redis://a", { kind: "redis", ...one("a", 6379), fields: {}, tls: undefined }],
  ["REDIS://a", { kind: "redis", ...one("a", 6379) }],
  ["redis://127.0.0.1:7000/2", { ...one("127.0.0.1", 7000), fields: { database: "2" } }],
  ["redis://[::1]:7000", one("::1", 7000)],
  ["redis://:p%40ss%23@a", { ...one("a", 6379), fields: { password: "p@ss#" } }],
  ["redis://al%3Aice:secret@a", { fields: { user: "al:ice", password: "secret" } }],
  ["redis://a?durable=true&name=east&prefix=p_1", { fields: { durable: true, name: "east", prefix: "p_1" } }],
  ["rediss://a:7000", { ...one("a", 7000), tls: {} }],
  ["redis://a?tls=true", { tls: {} }],
  ["redis+unix:///run/redis.sock", { hosts: [], path: "/run/redis.sock", fields: {} }],
  [
    "redis+unix://:pw@localhost/run/r%20s.sock?database=3&name=x",
    { path: "/run/r s.sock", fields: { password: "pw", database: "3", name: "x" } },
  ],
  [
    "postgres://app:pw@a/locks",
    { kind: "postgres", ...one("a", 5432), fields: { user: "app", password: "pw", database: "locks" } },
  ],
  [
    "postgresql://a:1/d?table=s.t&connectionsMax=2",
    { ...one("a", 1), fields: { database: "d", table: "s.t", connectionsMax: 2 } },
  ],
  [
    "postgres:///locks?socket=/run/postgresql",
    { hosts: [], path: "/run/postgresql", fields: { database: "locks", socket: "/run/postgresql" } },
  ],
  ["postgres://a/d?tls.rejectUnauthorized=false", { tls: { rejectUnauthorized: false } }],
  ["mysql://app@a/locks", { kind: "mysql", ...one("a", 3306), fields: { user: "app", database: "locks" } }],
  ["mariadb://a?table=d.t&dialect=mariadb", { kind: "mysql", fields: { table: "d.t", dialect: "mariadb" } }],
  [
    "mongodb://u:p@a,b:2/app?replicaSet=rs0",
    {
      kind: "mongodb",
      hosts: [
        { host: "a", port: 27017 },
        { host: "b", port: 2 },
      ],
      fields: { user: "u", password: "p", database: "app", replicaSet: "rs0" },
    },
  ],
  ["mongodb+srv://cluster.example.com", { kind: "mongodb", tls: {} }],
  [
    "etcd://a,b:1,c",
    {
      kind: "etcd",
      hosts: [
        { host: "a", port: 2379 },
        { host: "b", port: 1 },
        { host: "c", port: 2379 },
      ],
    },
  ],
  [
    "etcds://u:p@a?requestTimeout=2s",
    { tls: {}, fields: { user: "u", password: "p", requestTimeoutMs: 2000 } },
  ],
  ["consul://:tok@a", { kind: "consul", ...one("a", 8500), fields: { password: "tok" } }],
  ["consuls://a:8501", { ...one("a", 8501), tls: {} }],
  [
    "zookeeper://a,b",
    {
      kind: "zookeeper",
      hosts: [
        { host: "a", port: 2181 },
        { host: "b", port: 2181 },
      ],
    },
  ],
  ["memcached://u:p@a:1", { kind: "memcached", ...one("a", 1), fields: { user: "u", password: "p" } }],
  ["sqlite:locks.db", { kind: "sqlite", hosts: [], path: "locks.db" }],
  [
    "sqlite:/var/lib/my%20locks.db?synchronous=full",
    { path: "/var/lib/my locks.db", fields: { synchronous: "full" } },
  ],
  ["sqlite:a@b.db", { path: "a@b.db" }],
  ["sqlite:///var/lib/locks.db", { path: "/var/lib/locks.db" }],
  [
    "noop:?name=nothing",
    { kind: "noop", url: "noop:", hosts: [], path: undefined, fields: { name: "nothing" } },
  ],
])("reads %s", (url, expected) => {
  expect(read(url)).toMatchObject(expected);
});

test.each<readonly [url: string, message: RegExp]>([
  ["", /must be a URL/],
  ["a:6379", /must be a URL, .*: redis:\/\/HOST, .*; got "a:6379"/],
  ["http://a", /must be a URL that begins with redis:, rediss:.*got "http:\/\/a"/],
  ["redis-sentinel://a", /must be a URL that begins with redis:/],
  ["redis://", /must be a URL with a host/],
  ["redis:///2", /must be a URL with a host/],
  ["redis://a:99999", /port at most 65535/],
  ["redis://a:b", /HOST or HOST:PORT/],
  ["redis://a b", /must be a URL/],
  ["redis://a,b", /one host: every server that votes is a backend of its own/],
  ["redis://a/x", /whose database is a number, such as 2/],
  ["redis://a/-1", /whose database is a number/],
  ["redis://a/1/2", /whose database is a number/],
  ["redis://a/1?database=2", /gives the database once/],
  ["redis+unix://", /the path of a socket/],
  ["redis+unix://host/run/redis.sock", /the path of a socket/],
  ["redis://a?db=1", /no other parameters than name, prefix, durable, database/],
  ["redis://a?name=x&name=y", /the parameter name once/],
  ["redis://a?name=", /whose name is left out rather than empty/],
  ["redis://a?durable=yes", /whose durable is true or false/],
  ["redis://:50%@a", /a % is written as %25/],
  ["redis://a#b", /a # is written as %23/],
  ["rediss://a?tls=false", /whose tls is left out, or true/],
  ["redis://a?tls.ca=/no/such/file", /a file that can be read \(ENOENT\); got "\/no\/such\/file"/],
  ["redis://a?tls.ca=package.json", /a PEM file/],
  ["mysql://a", /whose database is there, as in mysql:\/\/HOST\/DATABASE/],
  ["postgres://a/d?socket=/run/p", /without a host, since there is a socket/],
  ["postgres://a/d?connectionsMax=0", /whose connectionsMax is a whole number from 1 to 1000/],
  ["mongodb://a/?replicaset=x", /no other parameters than/],
  ["mongodb+srv://a,b", /of one host/],
  ["etcd://a/prefix", /without a path/],
  ["etcd://u@a", /whose user is given with a password/],
  ["etcd://a?requestTimeout=1", /whose requestTimeout is a duration/],
  ["etcds://a?tls.rejectUnauthorized=false", /etcd3 always verifies/],
  ["consul://user:token@a", /must be one of the properties of consul: backends: .*; got "user"/],
  ["zookeeper://a?tls=true", /no other parameters than/],
  ["memcached://a,b", /one host/],
  ["sqlite:", /the path of a file/],
  ["sqlite://host/x.db", /the path of a file/],
  ["noop:x", /must be noop: alone/],
  ["noop://a", /must be noop: alone/],
  ["noop://:p@", /must be/],
  ["noop:?durable=true", /no other parameters than name/],
  ["memory:", /must be a server that other processes can reach, not memory:.*got "memory:"/],
])("refuses %j", (url, message) => {
  expect(() => read(url)).toThrow(message);
});

test.each([
  "redis://:hunter2@a/x",
  "redis://user:hun@ter2@a:99999",
  "redis://user:hunter2@@@a:b",
  "http://user:hunter2@a",
  "user:hunter2@a:6379",
  "redis://a?password=hunter2",
  "redis://a:b:c?auth=hunter2",
  "redis://:hunter2%@a",
  "redis://:hunter2",
  "redis://user:hunter2/a",
  "redis://user:hunter2:a:6379",
  "mysql://app:hunter2@a",
  "postgres://app:hunter2@a/d?tabel=t",
  "memory://:hunter2@a",
  "mongodb://u:hun@ter2@a",
  "redis://u:12/hunter2@a",
  "redis://u:1?name=hunter2@a",
  "redis://:hunter2@a:b",
])("does not show the password of %s", (url) => {
  const message = errorOf(() => read(url));
  expect(message).toMatch(/^option --backend must be /);
  expect(message).not.toMatch(/hun|ter2/);
});

test("parts a list of URLs at the commas between them, not at those between hosts", () => {
  expect(splitList("redis://a,redis://b:1, etcd://c,d:1,e ,sqlite:x,noop:,mongodb+srv://f")).toEqual([
    "redis://a",
    "redis://b:1",
    "etcd://c,d:1,e",
    "sqlite:x",
    "noop:",
    "mongodb+srv://f",
  ]);
});

describe("every kind of backend", () => {
  test.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    "%s names its forms, and each scheme once",
    (_, kind) => {
      for (const scheme of Object.keys(kind.schemes)) {
        expect(KINDS.filter(({ schemes }) => Object.hasOwn(schemes, scheme))).toEqual([kind]);
      }
      expect(kind.forms).toContain(`${Object.keys(kind.schemes)[0]}:`);
      expect(kind.fields).toContain("name");
      expect(new Set(kind.fields).size).toBe(kind.fields.length);
    },
  );
});

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}
