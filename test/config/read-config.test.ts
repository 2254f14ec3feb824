// The configuration from all its sources: who wins, what each can say, and what is said about mistakes.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../src/errors.ts";
import { describeConfig } from "../../src/config/describe.ts";
import {
  FIELD_NAMES,
  fieldVariableOf,
  FIELDS,
  SETTING_NAMES,
  SETTINGS,
  variableOf,
  type SettingName,
} from "../../src/config/schema.ts";
import { messageOf, read, type Written } from "./sources.ts";

/** Texts that each setting takes, with backends for them. */
const TEXTS: Readonly<Record<SettingName, readonly [string, string, string, string]>> = {
  ttl: ["3s", "4s", "5s", "6s"],
  wait: ["0", "1s", "1m30s", "2s"],
  quorum: ["2", "3", "2", "3"],
  maxTtl: ["61s", "62s", "63s", "64s"],
  clockSkew: ["0", "1ms", "2s", "3s"],
  restartGuard: ["auto", "strict", "off", "auto"],
  driftPpm: ["0", "1", "2", "3"],
  tokenRetention: ["7d", "8d", "9d", "10d"],
  retryDelayMin: ["1ms", "2ms", "3ms", "4ms"],
  retryDelayMax: ["300ms", "301ms", "302ms", "303ms"],
  logLevel: ["debug", "info", "warn", "error"],
  requireQuorum: ["true", "false", "true", "false"],
};
const URLS = ["redis://a", "redis://b", "redis://c"] as const;

/** A value as `loadConfig` takes it. */
function asCode(name: SettingName, text: string): number | string | boolean {
  const read1 = read({ options: { [name]: text }, urls: URLS }).settings.get(name)?.value;
  if (read1 === undefined) throw new Error(`${name} was not read`);
  return read1;
}

function written(
  name: SettingName,
  texts: Partial<Record<"code" | "option" | "variable" | "file", string>>,
): Written {
  const option = SETTINGS[name].option ?? name;
  return {
    urls: URLS,
    ...(texts.code === undefined ? {} : { code: { [option]: asCode(name, texts.code) } }),
    ...(texts.option === undefined ? {} : { options: { [name]: texts.option } }),
    ...(texts.variable === undefined ? {} : { env: { [variableOf(name)]: texts.variable } }),
    ...(texts.file === undefined ? {} : { yaml: `${name}: ${texts.file}` }),
  };
}

const SOURCES = ["code", "option", "variable", "file"] as const;

describe("every setting", () => {
  test("is taken from the strongest source that has it: code, command line, variable, file, default", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...SETTING_NAMES.filter((name) => name !== "logLevel")),
        fc.uniqueArray(fc.constantFrom(...SOURCES)),
        (name, sources) => {
          const texts = Object.fromEntries(
            sources.map((source) => [source, TEXTS[name][SOURCES.indexOf(source)]]),
          );
          const config = read(written(name, texts));
          const winner = SOURCES.find((source) => sources.includes(source));
          const setting = config.settings.get(name);
          expect(setting?.entry.place.kind).toBe(winner);
          if (winner !== undefined) expect(setting?.value).toBe(asCode(name, texts[winner] ?? ""));
        },
      ),
    );
  });

  test.each(SETTING_NAMES)(
    "%s can be given in a file, as a variable and, where there is one, as an option",
    (name) => {
      const [text] = TEXTS[name];
      const values = (["option", "variable", "file"] as const).map(
        (source) => read(written(name, { [source]: text })).settings.get(name)?.value,
      );
      expect(values).toEqual([values[0], values[0], values[0]]);
      const { option } = SETTINGS[name];
      if (option !== undefined)
        expect(read(written(name, { file: text })).options[option as "ttlMs"]).toBe(values[0]);
    },
  );

  test.each(SETTING_NAMES)(
    "%s that breaks its rule is refused in every source, with the place, the rule and the value",
    (name) => {
      const { kind } = SETTINGS[name].type;
      const bad = kind === "duration" || kind === "whole" ? ["x", "99999999d", "-1"] : ["x", ""];
      for (const text of bad) {
        const inFile = messageOf(() => read({ urls: URLS, yaml: `# one\n${name}: "${text}"` }));
        expect(inFile).toMatch(
          new RegExp(`^quorum-lock\\.yaml:2:${name.length + 3}: ${name} must be .*; got "${text}"$`),
        );
        const inOption = messageOf(() => read(written(name, { option: text })));
        expect(inOption).toMatch(new RegExp(`^option --[a-z-]+ must be .*; got "${text}"$`));
        // An empty variable counts as none.
        if (text === "") continue;
        const inVariable = messageOf(() => read(written(name, { variable: text })));
        expect(inVariable).toMatch(new RegExp(`^variable ${variableOf(name)} must be .*; got "${text}"$`));
      }
    },
  );

  test("is refused also where a stronger source hides it", () => {
    expect(messageOf(() => read({ urls: URLS, options: { ttl: "3s" }, yaml: "ttl: soon" }))).toMatch(
      /^quorum-lock\.yaml:1:6: ttl must be a duration/,
    );
  });
});

test.each<readonly [written: Written, message: RegExp]>([
  [
    { yaml: "maxTtl: 20s\nttl: 30s" },
    /^quorum-lock\.yaml:2:6: ttl must be from 50ms to 20s \(maxTtl\); got "30s"$/,
  ],
  [
    { yaml: "maxTtl: 20s", env: { QUORUM_LOCK_TTL: "30s" } },
    /^variable QUORUM_LOCK_TTL must be from 50ms to 20s \(QUORUM_LOCK_MAX_TTL\)/,
  ],
  [
    { yaml: "maxTtl: 20s", code: { ttlMs: 30_000 } },
    /^option ttlMs must be from 50ms to 20s \(maxTtlMs\); got "30000ms"$/,
  ],
  [{ yaml: "clockSkew: 1m" }, /^quorum-lock\.yaml:1:12: clockSkew must be from 0ms to .* \(below maxTtl\)/],
  [
    { yaml: "retryDelayMin: 1s\nretryDelayMax: 10ms" },
    /^quorum-lock\.yaml:2:16: retryDelayMax must be at least retryDelayMsMin \(1000\); got 10ms$/,
  ],
  [
    { env: { QUORUM_LOCK_TOKEN_RETENTION: "1s" } },
    /^variable QUORUM_LOCK_TOKEN_RETENTION must be .*; got 1s$/,
  ],
  [
    { urls: [...URLS], yaml: "quorum: 1" },
    /^quorum-lock\.yaml:1:9: quorum must be a majority of the 3 backends: .* from 2 to 3; got "1"$/,
  ],
  [{ code: { ttlMs: "5s" as never } }, /^option ttlMs must be a number; got "5s"$/],
  [{ code: { ttlMs: 1.5 } }, /^option ttlMs must be a whole number of milliseconds; got 1\.5$/],
  [
    { code: { backends: [{ url: "redis://a", nmae: "x" }] } },
    /^option backends\[0\] must be spelt name, if that is meant; got "nmae"$/,
  ],
  [
    { code: { backends: [{ url: "redis://a", tls: { ca: "/none" } }] } },
    /^option backends\[0\]\.tls\.ca must be a file/,
  ],
  [
    { yaml: "requireQuorum: true" },
    /^quorum-lock\.yaml:1:16: requireQuorum must be left out, or .*; got true, while none is configured$/,
  ],
  [{ yaml: "ttl: 30s\nttl: 20s" }, /^quorum-lock\.yaml:2:1: the file must be YAML; got duplicate key$/],
  [{ yaml: "a:\n\t- b" }, /^quorum-lock\.yaml:2:1: the file must be YAML; got /],
  [{ yaml: "- a" }, /^quorum-lock\.yaml:1:1: the file must be a map of keys and values; got a list$/],
  [{ yaml: "tll: 3s" }, /^quorum-lock\.yaml:1:1: tll must be spelt ttl, if that is meant; got "tll"$/],
  [{ yaml: "colour: red" }, /^quorum-lock\.yaml:1:1: colour must be one of ttl, .*, backends; got "colour"$/],
  [{ yaml: "ttl:\n  a: b" }, /^quorum-lock\.yaml:2:3: ttl must be one value; got a map$/],
  [
    { yaml: "ttl: ${NONE}" },
    /^quorum-lock\.yaml:1:6: ttl must be made of variables that are set; got \$\{NONE\}, which is not$/,
  ],
  [{ yaml: "ttl: ${}" }, /^quorum-lock\.yaml:1:6: ttl must be a text in which/],
  [
    { yaml: "backends: redis://a" },
    /^quorum-lock\.yaml:1:11: backends must be a list of backends, each with a dash; got one value$/,
  ],
  [
    { yaml: "backends: []" },
    /^quorum-lock\.yaml:1:1: backends must be a list of 1 to 31 backends; got 0 of them$/,
  ],
  [
    { yaml: "backends:\n  - name: a" },
    /^quorum-lock\.yaml:2:5: backends\[0\] must be a URL, or have a key url; got a map$/,
  ],
  [
    { yaml: "backends:\n  - http://a" },
    /^quorum-lock\.yaml:2:5: backends\[0\] must be a URL that begins with redis:/,
  ],
  [
    { yaml: "backends:\n  - url: redis://a\n    nmae: b" },
    /^quorum-lock\.yaml:3:5: backends\[0\]\.nmae must be spelt name, if that is meant; got "nmae"$/,
  ],
  [
    { yaml: "backends:\n  - url: redis://a\n    tls:\n      cert: /none" },
    /^quorum-lock\.yaml:4:13: backends\[0\]\.tls\.cert must be a file that can be read \(ENOENT\)/,
  ],
  [
    { yaml: "backends:\n  - url: redis://a\n    table: t" },
    /^quorum-lock\.yaml:3:12: backends\[0\]\.table must be one of the properties of redis: backends: .*; got "table"$/,
  ],
  [
    { yaml: "backends:\n  - url: redis://u@a\n    user: b" },
    /^quorum-lock\.yaml:3:11: backends\[0\]\.user must be left out, since the user is there already \(in the URL, quorum-lock\.yaml:2:10: backends\[0\]\.url\); got "b"$/,
  ],
  [
    { env: { QUORUM_LOCK_BACKENDS: "redis://a,redis://a:x" } },
    /^variable QUORUM_LOCK_BACKENDS must be a URL with HOST or HOST:PORT.*; got "redis:\/\/a:\*\*\*"$/,
  ],
  [
    { env: { QUORUM_LOCK_BACKENDS: "redis://a", QUORUM_LOCK_BACKEND_2_NAME: "x" } },
    /^variable QUORUM_LOCK_BACKEND_2_NAME must be of one of the backends, 1 to 1; got number 2$/,
  ],
  [
    { env: { QUORUM_LOCK_BACKEND_0_NAME: "x" } },
    /^variable QUORUM_LOCK_BACKEND_0_NAME must be named with the number of a backend, from 1/,
  ],
  [
    { env: { QUORUM_LOCK_BACKEND_1_NAME: "x" } },
    /^variable QUORUM_LOCK_BACKEND_1_NAME must be left out, since no backend is configured/,
  ],
  [
    { env: { QUORUM_LOCK_BACKENDSS: "x" } },
    /^variable QUORUM_LOCK_BACKENDSS must be spelt QUORUM_LOCK_BACKENDS, if that is meant/,
  ],
  [
    { env: { QUORUM_LOCK_BACKEND_1_PASWORD: "hunter2" } },
    /^variable QUORUM_LOCK_BACKEND_1_PASWORD must be spelt QUORUM_LOCK_BACKEND_1_PASSWORD, if that is meant, or named otherwise; got "QUORUM_LOCK_BACKEND_1_PASWORD"$/,
  ],
])("refuses %j", (from, message) => {
  expect(messageOf(() => read(from))).toMatch(message);
  try {
    read(from);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ code: "INVALID_CONFIG", place: { kind: expect.any(String) as string } });
  }
});

test("leaves variables alone that are nobody's, such as those of Kubernetes for a service with this name", () => {
  const env = {
    QUORUM_LOCK_SERVICE_HOST: "10.0.0.1",
    QUORUM_LOCK_PORT_6379_TCP: "tcp://10.0.0.1:6379",
    QUORUM_LOCK_TOKEN: "1",
    QUORUM_LOCK_KEY: "k",
    QUORUM_LOCK_MAIN: "m",
    QUORUM_LOCK_BACKEND_1_SERVICE_HOST: "10.0.0.1",
    QUORUM_LOCK_TTL: "  ",
  };
  expect(read({ env }).settings.size).toBe(0);
});

describe("backends", () => {
  test("are those of the strongest source that lists any, not those of several", () => {
    const yaml = "backends:\n  - redis://file";
    const env = { QUORUM_LOCK_BACKENDS: "redis://v1, etcd://v2,v3" };
    const urls = (from: Written): readonly string[] => read(from).backends.map(({ url }) => url);
    expect(urls({ yaml })).toEqual(["redis://file"]);
    expect(urls({ yaml, env })).toEqual(["redis://v1", "etcd://v2,v3"]);
    expect(urls({ yaml, env, urls: ["redis://o"] })).toEqual(["redis://o"]);
    expect(urls({ yaml, env, urls: ["redis://o"], code: { backends: ["redis://c"] } })).toEqual([
      "redis://c",
    ]);
    expect(read({}).backendsFrom).toBeUndefined();
  });

  test("take properties from variables by their number: over those of a file, not over those of a command line", () => {
    const env = { QUORUM_LOCK_BACKEND_1_USER: "v", QUORUM_LOCK_BACKEND_1_PASSWORD: " from variable " };
    const yaml = "backends:\n  - url: redis://f:g@a\n    name: n";
    expect(read({ env, yaml }).backends[0]?.fields).toEqual({
      user: "v",
      password: " from variable ",
      name: "n",
    });
    expect(read({ env, urls: ["redis://o:p@a"] }).backends[0]?.fields).toEqual({ user: "o", password: "p" });
    expect(read({ env, urls: ["redis://a"] }).backends[0]?.fields).toEqual({
      user: "v",
      password: " from variable ",
    });
  });

  test("of a file take passwords from variables, or from a file", async ({ onTestFinished }) => {
    const { mkdtempSync, rmSync, writeFileSync } = await import("node:fs");
    const { tmpdir } = await import("node:os");
    const folder = mkdtempSync(`${tmpdir()}/quorum-lock-config-`);
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(`${folder}/secret`, " s3 cret\n");
    const yaml = `backends:
  - &first
    url: redis://a
    password: "x\${PW}y$\${PW}"
  - redis://:\${PW}@b
  - url: redis://c
    passwordFile: ${folder}/secret
  - url: redis://d
    password: 0123`;
    const passwords = read({ env: { PW: "p" }, yaml }).backends.map(({ fields }) => fields.password);
    expect(passwords).toEqual(["xpy${PW}", "p", " s3 cret", "0123"]);
  });

  test("of a file with paths begin at its folder", () => {
    const env = {};
    const yaml = "backends:\n  - sqlite:locks.db";
    expect(read({ env, yaml }).backends[0]?.path).toBe(`${process.cwd()}/locks.db`);
  });

  test("whose certificate is not verified are warned about, loudly", () => {
    const yaml = "backends:\n  - url: redis://u:hunter2@a\n    tls: { rejectUnauthorized: false }";
    expect(read({ yaml }).warnings).toEqual([
      expect.stringMatching(/^WARNING: the certificate of redis:\/\/a is not verified/) as string,
    ]);
    expect(read({ yaml: "backends:\n  - rediss://a" }).warnings).toEqual([]);
  });

  test("take every property that some kind has, in a file, as a variable, in a URL (but no password) and from code", () => {
    const values: Partial<Record<string, string>> = {
      durable: "true",
      tls: "true",
      "tls.rejectUnauthorized": "true",
      directConnection: "true",
      requestTimeout: "2s",
      connectionsMax: "3",
      dialect: "mysql",
      synchronous: "full",
      database: "7",
    };
    const urls = [
      "redis://h",
      "postgres://h",
      "mysql://h?table=a.b",
      "mongodb://h",
      "etcd://h",
      "consul://h",
      "zookeeper://h",
      "memcached://h",
      "sqlite:x",
      "noop:",
    ];
    const needsFile = new Set(["passwordFile", "tls.ca", "tls.cert", "tls.key"]);
    const alone = new Set(["user", "password", "socket"]);
    for (const field of FIELD_NAMES.filter((each) => !needsFile.has(each) && !alone.has(each))) {
      const text = values[field] ?? "words";
      const taking = urls.filter((url) => {
        const encoded = `${url}${url.includes("?") ? "&" : "?"}${field}=${encodeURIComponent(text)}`;
        try {
          const shown = [
            read({ urls: [encoded] }),
            read({ urls: [url], env: { [fieldVariableOf(1, field)]: text } }),
            read({
              yaml: `backends:\n  - url: ${url}\n    ${field.startsWith("tls.") ? `tls: { ${field.slice(4)}: ${text} }` : `${field}: ${text}`}`,
            }),
            read({ code: { backends: [{ url, [field]: text }] } }),
          ].map(({ backends }) => backends[0]?.shown.find(({ name }) => name === field)?.text);
          expect(shown).toEqual([text, text, text, text]);
          return true;
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          return false;
        }
      });
      expect(taking, field).not.toEqual([]);
      expect(FIELDS[field].about).not.toBe("");
    }
  });
});

describe("secrets", () => {
  /** Odd, but findable: every text that is shown is searched for it. */
  const ODD = [...new Intl.Segmenter().segment("aZ09 @:/?#%&=,'\"\\${}[]\n\té🔒-!|>*")].map(
    ({ segment }) => segment,
  );
  const password = fc
    .string({ unit: fc.constantFrom(...ODD), minLength: 1, maxLength: 12 })
    .map((odd) => `Q7x${odd}x7Q`);

  test("appear in no error, no warning and no description, whatever they are and wherever they stand", () => {
    fc.assert(
      fc.property(
        password,
        fc.constantFrom(
          "redis://HOST/LOGIN",
          "mysql://HOST/",
          "postgres://HOST/db",
          "mongodb://HOST",
          "etcd://HOST",
          "consul://HOST",
          "nope://HOST",
        ),
        fc.constantFrom("", "?durable=maybe", "?bogus=1", "/x/y", "?name=a&name=b", ":99999"),
        fc.boolean(),
        (secret, form, tail, encode) => {
          const login = encode ? encodeURIComponent(secret) : secret;
          const url = form.replace("HOST", `u:${login}@h${tail}`);
          const texts = [
            () => read({ urls: [url] }),
            () => read({ env: { QUORUM_LOCK_BACKENDS: url } }),
            () => read({ yaml: `backends:\n  - url: ${JSON.stringify(url)}\n    bogus: 1` }),
            () => read({ env: { PW: secret }, yaml: `backends:\n  - url: redis://:\${PW}@h${tail}` }),
            () =>
              read({
                env: { PW: secret },
                yaml: `backends:\n  - url: redis://h${tail}\n    password: \${PW}`,
              }),
            () => read({ env: { QUORUM_LOCK_BACKEND_1_PASSWORD: secret }, urls: [`redis://h${tail}`] }),
            () => read({ env: { QUORUM_LOCK_BACKEND_1_PASSWORD: secret }, urls: [`sqlite:h`] }),
            () =>
              read({
                env: { QUORUM_LOCK_BACKEND_1_PASSWORD: secret, QUORUM_LOCK_BACKENDS: `redis://:${login}@h` },
              }),
            () => read({ code: { backends: [{ url: `redis://h${tail}`, password: secret }] } }),
            () => read({ yaml: `backends:\n  - url: redis://h\n    password: ${secret}` }),
          ].map(textOf);
          for (const text of texts) {
            expect(text).not.toContain("Q7x");
            expect(text).not.toContain("x7Q");
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  /** All that anybody gets to see of it. */
  function textOf(run: () => ReturnType<typeof read>): string {
    try {
      const config = run();
      return JSON.stringify([describeConfig(config), config.warnings, config.backends.map(({ url }) => url)]);
    } catch (error) {
      const { message, stack, cause } = error as Error;
      expect(error).toBeInstanceOf(ConfigError);
      return JSON.stringify([message, stack, String(cause), (error as ConfigError).toJSON()]);
    }
  }
});

test("the description names the source of every value", () => {
  const config = read({
    urls: undefined as never,
    options: { ttl: "5s" },
    env: { QUORUM_LOCK_WAIT: "0", QUORUM_LOCK_BACKEND_1_PASSWORD: "x" },
    yaml: "maxTtl: 20s\nbackends:\n  - url: redis://a\n    name: east\n  - redis://b/3",
  });
  expect(describeConfig(config).map(({ key, value, source, from }) => [key, value, source, from])).toEqual([
    ["backends[0].url", "redis://a", "file", "quorum-lock.yaml:3:10"],
    ["backends[0].name", "east", "file", "quorum-lock.yaml:4:11"],
    ["backends[0].password", null, "variable", "QUORUM_LOCK_BACKEND_1_PASSWORD"],
    ["backends[1].url", "redis://b", "file", "quorum-lock.yaml:5:5"],
    ["backends[1].database", "3", "file", "quorum-lock.yaml:5:5"],
    ["ttl", "5s", "option", "--ttl"],
    ["wait", "0ms", "variable", "QUORUM_LOCK_WAIT"],
    ["quorum", "2", "default", null],
    ["maxTtl", "20s", "file", "quorum-lock.yaml:1:9"],
    ["clockSkew", "1s", "default", null],
    ["restartGuard", "auto", "default", null],
    ["driftPpm", "5000", "default", null],
    ["tokenRetention", "7d", "default", null],
    ["retryDelayMin", "10ms", "default", null],
    ["retryDelayMax", "250ms", "default", null],
    ["logLevel", "no log", "default", null],
    ["requireQuorum", "false", "default", null],
  ]);
});
