// Backend URLs.
import { expect, test } from "vitest";
import { parseBackendUrl } from "../../src/cli/parse-url.ts";

test.each([
  ["redis://a", { host: "a", port: 6379, db: 0 }, {}],
  ["redis://127.0.0.1:7000/2", { host: "127.0.0.1", port: 7000, db: 2 }, {}],
  ["redis://[::1]:7000", { host: "::1", port: 7000, db: 0 }, {}],
  ["redis://:p%40ss%23@a", { host: "a", port: 6379, db: 0, password: "p@ss#" }, {}],
  ["redis://al%3Aice:secret@a", { host: "a", port: 6379, db: 0, username: "al:ice", password: "secret" }, {}],
  ["rediss://a:7000", { host: "a", port: 7000, db: 0, tls: {} }, {}],
  ["redis+unix:///run/redis.sock", { path: "/run/redis.sock", db: 0 }, {}],
  [
    "redis+unix://:pw@localhost/run/r%20s.sock?db=3&name=x",
    { path: "/run/r s.sock", db: 3, password: "pw" },
    { name: "x" },
  ],
  [
    "redis://a?name=east&durable=true&prefix=p_1",
    { host: "a", port: 6379, db: 0 },
    { name: "east", durable: true, prefix: "p_1" },
  ],
])("reads %s", (url, connection, backend) => {
  expect(parseBackendUrl(url)).toEqual({
    kind: "redis",
    connection,
    backend: { durable: false, ...backend },
  });
});

test.each([
  ["", /must be a URL/],
  ["a:6379", /must be one of redis:/],
  ["http://a", /must be one of redis:\/\/.*got "http:\/\/a"/],
  ["redis-sentinel://a", /must be one of redis:/],
  ["redis://", /must be a URL with a host/],
  ["redis:///2", /must be a URL with a host/],
  ["redis://a:99999", /must be a URL/],
  ["redis://a/x", /whose database is a number, such as \/2/],
  ["redis://a/-1", /whose database is a number/],
  ["redis://a/1/2", /whose database is a number/],
  ["redis+unix://", /the path of a socket/],
  ["redis+unix://host/run/redis.sock", /the path of a socket/],
  ["redis://a?db=1", /no other parameters than name, durable, prefix/],
  ["redis://a?name=x&name=y", /the parameter name once/],
  ["redis://a?durable=yes", /whose parameter durable is true or false/],
  ["redis://:50%@a", /a % is written as %25/],
  ["redis://a#b", /a # is written as %23/],
  ["memory:", /must be a server that other processes can reach; got "memory:"/],
])("refuses %j", (url, message) => {
  expect(() => parseBackendUrl(url)).toThrow(message);
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
])("does not show the password of %s", (url) => {
  const message = errorOf(() => parseBackendUrl(url));
  expect(message).toMatch(/^option --backend must be /);
  expect(message).not.toMatch(/hun|ter2/);
});

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}
