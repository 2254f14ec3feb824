/**
 * Writes the tables of the docs from the source, so that no figure and no code is typed twice.
 * `node scripts/docs.mjs` writes; `node scripts/docs.mjs --check` fails when a page is not up to date.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { EXIT, EXIT_RULES } from "../dist/cli/exit-codes.js";
import { COMMANDS } from "../dist/cli/command-table.js";
import { JSON_FIELDS } from "../dist/cli/json-fields.js";
import { exactMs } from "../dist/config/duration.js";
import { KINDS } from "../dist/config/kinds.js";
import { FIELDS, fieldVariableOf, flagOf, SETTINGS, variableOf } from "../dist/config/schema.js";
import { checkScreen, inspectScreens } from "./screens.mjs";
import { DEFAULTS, LIMITS } from "../dist/options.js";
import { createShards } from "../dist/shard/shards.js";
import { conformanceCases } from "../dist/testing/index.js";
import { adapterCapabilities } from "./adapter-samples.mjs";
import { compileSim } from "./compile-sim.mjs";
import { nameOf } from "./mutation-survivors.mjs";
import { regionTables } from "./region-tables.mjs";

const sim = compileSim();
const { KNOBS } = await import(new URL("faults.js", sim).href);
const { INSIDE_PROFILES, OUTSIDE_PROFILES } = await import(new URL("profiles.js", sim).href);
const { MUTANTS } = await import(new URL("mutants.js", sim).href);
const { FALSE_ALARMS } = await import(new URL("false-alarms.js", sim).href);

// What a terminal would colour is text here.
process.env["NO_COLOR"] = "1";
const regions = await regionTables(sim);
const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path) => readFileSync(`${root}${path}`, "utf8");

const PAGES = {
  "docs/options.md": { options: optionTables },
  "docs/errors.md": { errors: errorTables },
  "docs/cli.md": { help: helpTexts, exits: exitTable },
  "docs/cli-json.md": { fields: jsonTables },
  "docs/configuration.md": { settings: settingTable, kinds: kindTable, properties: propertyTable },
  "docs/adapters/README.md": { capabilities: capabilityTable },
  "docs/adapters/writing-your-own.md": {
    example: () => `\`\`\`ts\n${read("test/examples/object-store.ts").trimEnd()}\n\`\`\``,
  },
  "docs/conformance.md": { cases: conformanceTable },
  "docs/runbook.md": { check: checkScreen, inspect: inspectScreens },
  "docs/simulation.md": {
    faults: faultTable,
    inside: insideTable,
    outside: outsideTable,
    mutants: () => mutantTable(MUTANTS, "missing rule"),
    "false alarms": () => mutantTable(FALSE_ALARMS, "bug of the simulation"),
  },
  "docs/scaling.md": {
    balance: balanceTable,
    vectors: vectorTable,
    "region inputs": () => regions.inputs,
    "region free": () => regions.free,
    "region cut": () => regions.cut,
    "region contended": () => regions.contended,
  },
  "docs/mutation.md": { score: scoreTable, survivors: survivorTable },
};

/** What the needs of conformance cases mean. */
const NEEDS = {
  "restart-lost": "can be restarted with an empty memory",
  "restart-kept": "can be restarted with its memory kept",
  volatile: "forgets at a restart",
  durable: "remembers over a restart",
  clamps: "has a wall clock to compare proposals with",
  lists: "lists keys",
  wakes: "calls waiters",
  alone: "nobody else uses",
};

/** The members of an interface with their comments. */
function members(source, name) {
  const body = new RegExp(`export interface ${name}[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(source)?.[1];
  if (body === undefined) throw new Error(`no interface ${name}`);
  return [...body.matchAll(/\/\*\*([\s\S]*?)\*\/\s*readonly (\w+)\??: ([^;]+);/g)].map(
    ([, comment, member, type]) => ({
      member,
      type: type.replace(/\s+/g, " "),
      text: comment.replace(/\s*\n\s*\*\s?/g, " ").trim(),
    }),
  );
}

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function plain(text) {
  return text.replace(/\{@link (?:\w+\.)?(\w+)\}/g, "`$1`");
}

function figure(value) {
  return value === undefined
    ? ""
    : typeof value === "number"
      ? value.toLocaleString("en-US")
      : `\`"${value}"\``;
}

function optionTables() {
  const source = read("src/options.ts");
  const range = {
    ttlMs: [LIMITS.ttlMsMin, "maxTtlMs"],
    waitMs: [0, LIMITS.waitMsMax],
    maxTtlMs: [LIMITS.ttlMsMin, LIMITS.maxTtlMsMax],
    clockSkewMs: [0, `${figure(LIMITS.clockSkewMsMax)}, below maxTtlMs`],
    driftPpm: [0, LIMITS.driftPpmMax],
    tokenRetentionMs: ["one quarantine", LIMITS.tokenRetentionMsMax],
    retryDelayMsMin: [1, LIMITS.retryDelayMsMax],
    retryDelayMsMax: ["retryDelayMsMin", LIMITS.retryDelayMsMax],
    limit: [1, LIMITS.limitMax],
    quorum: ["a majority", "all"],
    backends: [1, `${LIMITS.backendsMax} of them`],
    restartGuard: ['`"auto"`', '`"strict"` or `"off"`'],
  };
  const text = (bound) => (typeof bound === "number" ? figure(bound) : bound);
  const rows = (name, whose) =>
    members(source, name).map(({ member, text: what }) => [
      `\`${member}\``,
      member in DEFAULTS && whose !== undefined ? whose : figure(DEFAULTS[member]),
      member in range ? `${text(range[member][0])} to ${text(range[member][1])}` : "",
      plain(member in DEFAULTS ? what.replace(/ Default [^.]*\.$/, "") : what),
    ]);
  const head = ["option", "default", "allowed", "what it does"];
  return [
    "## createLocker(options)",
    table(head, rows("LockerOptions")),
    "## acquire, tryAcquire, withLock",
    table(head, rows("AcquireOptions", "the locker's")),
    "## list",
    table(head, rows("ListOptions")),
    "## adopt",
    table(head, rows("AdoptOptions", "the lease's")),
    `Keys: non-empty strings of well-formed Unicode, at most ${LIMITS.keyBytesMax} bytes in UTF-8.`,
  ].join("\n\n");
}

function errorTables() {
  const source = read("src/errors.ts");
  const classes = [
    ...source.matchAll(/\/\*\*\s*\n?\s*\*?\s*`([A-Z_]+)`: ([\s\S]*?)\*\/\s*export class (\w+)/g),
  ].map(([, code, text, name]) => [
    `\`${code}\``,
    `\`${name}\``,
    plain(text.replace(/\s*\n\s*\*\s?/g, " ").trim()),
  ]);
  const union = /export type BackendErrorCode =([\s\S]*?);\n\n/.exec(source)?.[1] ?? "";
  const backend = [...union.matchAll(/\/\*\* ([^*]*) \*\/\s*\| "(\w+)"/g)].map(([, text, code]) => [
    `\`${code}\``,
    text,
  ]);
  const without = /WITHOUT_EFFECT[^[]*\[([\s\S]*?)\]/.exec(source)?.[1] ?? "";
  const declared = [.../export type ErrorCode =([\s\S]*?);/.exec(source)[1].matchAll(/"(\w+)"/g)].map(
    ([, code]) => code,
  );
  const listed = classes.map(([code]) => code.replaceAll("`", ""));
  const missing = declared.filter((code) => !listed.includes(code));
  if (missing.length > 0)
    throw new Error(`no class with a comment that starts with the code: ${missing.join(", ")}`);
  return [
    table(["code", "class", "meaning"], classes),
    "## What one backend can do",
    "Each is a `BackendError`: in the `votes` of a quorum error, in its `cause`, and in the event `backendFault`.",
    table(
      ["code", "effect", "meaning"],
      backend.map(([code, text]) => [
        code,
        without.includes(code.replaceAll("`", '"')) ? "none" : "unknown",
        text,
      ]),
    ),
  ].join("\n\n");
}

function helpTexts() {
  return ["", ...Object.keys(COMMANDS)]
    .map((command) => {
      const args = [`${root}dist/cli/main.js`, ...(command === "" ? [] : [command]), "--help"];
      return `\`\`\`\n${execFileSync(process.execPath, args, { encoding: "utf8" }).trimEnd()}\n\`\`\``;
    })
    .join("\n\n");
}

function exitTable() {
  const own = Object.values(EXIT).map(({ code, meaning }) => [String(code), meaning]);
  return table(["code", "meaning"], [...own, ...EXIT_RULES.map(({ codes, meaning }) => [codes, meaning])]);
}

function jsonTables() {
  return Object.entries(JSON_FIELDS)
    .map(([command, fields]) => {
      // The same object in a list, or on each line of watch, is described once.
      const own = fields.filter(
        (field) =>
          !field.path.startsWith("keys[].") && (command !== "watch" || !JSON_FIELDS.inspect.includes(field)),
      );
      const more = command === "watch" ? "\n\nAnd all fields of `inspect`." : "";
      const rows = own.map(({ path, types, about }) => [`\`${path}\``, types.join(", "), about]);
      return `## ${command}\n\n${table(["field", "type", "meaning"], rows)}${more}`;
    })
    .join("\n\n");
}

function typeText(type) {
  switch (type.kind) {
    case "duration":
      return `${exactMs(type.minMs)} to ${exactMs(type.maxMs)}`;
    case "whole":
      return `${figure(type.min)} to ${figure(type.max)}`;
    case "word":
      return type.words.map((word) => `\`${word}\``).join(", ");
    case "flag":
      return "`true`, `false`";
    case "path":
      return "a path";
    default:
      return "text";
  }
}

function settingTable() {
  const rows = Object.entries(SETTINGS).map(([name, { type, option, flag, fallback, about }]) => [
    `\`${name}\``,
    `\`${variableOf(name)}\``,
    flag === true ? `\`${flagOf(name)}\`` : "",
    `\`${option ?? (name === "requireQuorum" ? name : "")}\``.replace("``", ""),
    fallback,
    typeText(type),
    about,
  ]);
  return table(["file", "variable", "command line", "code", "default", "allowed", "what it does"], rows);
}

function kindTable() {
  const rows = KINDS.map(({ kind, forms, packages, port }) => [
    `\`${kind}\``,
    forms,
    port === 0 ? "" : String(port),
    kind === "sqlite"
      ? "none on Node 24, else `libsql` or `better-sqlite3`"
      : packages.map((each) => `\`${each}\``).join(" or ") || "none",
  ]);
  return table(["kind", "URLs", "port", "package"], rows);
}

function propertyTable() {
  const rows = Object.entries(FIELDS).map(([name, { type, about }]) => [
    `\`${name}\``,
    `\`${fieldVariableOf(1, name)}\``,
    typeText(type),
    KINDS.filter(({ fields }) => fields.includes(name))
      .map(({ kind }) => kind)
      .join(", "),
    about,
  ]);
  return table(["property", "variable", "allowed", "of", "what it is"], rows);
}

async function capabilityTable() {
  const yes = (value) => (value === true ? "yes" : "no");
  const rows = (await adapterCapabilities()).map(({ adapter, variant, capabilities: can }) => [
    existsSync(`${root}docs/adapters/${adapter}.md`) ? `[${adapter}](${adapter}.md)` : adapter,
    variant,
    can.atomicStep,
    String(can.acquireRoundTrips),
    `${figure(can.earlyByMs)} / ${figure(can.lateByMs)}`,
    can.expiryClock,
    can.grantsEverything === true ? "has none" : yes(can.durable),
    yes(can.wakes),
    yes(can.lists),
    can.coalesces ?? "no",
  ]);
  const head = [
    "adapter",
    "with",
    "atomic step",
    "round trips",
    "ends early / late by up to, ms",
    "expiry clock",
  ];
  const tail = ["keeps locks over a restart", "calls waiters", "lists keys", "one request for a turn"];
  return table([...head, ...tail], rows);
}

function conformanceTable() {
  return table(
    ["case", "only for a backend that"],
    conformanceCases.map(({ name, needs = [] }) => [name, needs.map((need) => NEEDS[need]).join("; ")]),
  );
}

function faultTable() {
  const range = (bounds, unit) =>
    bounds === undefined || bounds[1] === 0 ? "" : `${figure(bounds[0])} to ${figure(bounds[1])}${unit}`;
  const rows = Object.entries(KNOBS).map(([kind, { what, of, ms, forMs, rate }]) => [
    kind,
    of,
    what,
    [range(ms, " ms"), forMs ? `for ${range(forMs, " ms")}` : "", kind === "pause" ? "" : range(rate, "")]
      .filter((part) => part !== "")
      .join(", "),
  ]);
  return table(["fault", "of a", "what happens", "knobs"], rows);
}

const mean = (sum, worlds) => figure(Math.round(sum / worlds));

function insideTable() {
  const figures = JSON.parse(read("test/sim/figures.json"));
  const known = Object.keys(INSIDE_PROFILES).filter((name) => figures[name] !== undefined);
  const rows = known.map((name) => {
    const { worlds, violated, date, events, faults, leases } = figures[name];
    const means = [mean(events, worlds), mean(faults, worlds), mean(leases, worlds)];
    return [name, INSIDE_PROFILES[name].what, figure(worlds), String(violated), date, ...means];
  });
  const sum = (of) => known.reduce((total, name) => total + figures[name][of], 0);
  const means = ["events", "faults", "leases"].map((of) => mean(sum(of), sum("worlds")));
  rows.push(["**all**", "", figure(sum("worlds")), String(sum("violated")), "", ...means]);
  const hours = (sum("simulatedMs") / 3_600_000).toFixed(1);
  const fast = ((100 * sum("fast")) / sum("leases")).toFixed(1);
  const head = [
    "profile",
    "what",
    "worlds",
    "with a violation",
    "run on",
    "events each",
    "faults each",
    "holds each",
  ];
  return `${table(head, rows)}\n\n${hours} simulated hours; ${fast} % of the holds were won in one round trip.`;
}

function outsideTable() {
  const figures = JSON.parse(read("test/sim/figures.json"));
  const rows = Object.entries(OUTSIDE_PROFILES).flatMap(([name, { what, broken, notPromised }]) => {
    if (figures[name] === undefined) return [];
    const { worlds, violated, excused } = figures[name];
    const rates = notPromised.map((promise) => {
      return `${promise}: ${((100 * (excused[promise] ?? 0)) / worlds).toFixed(2)} %`;
    });
    return [[name, broken, what, figure(worlds), rates.join(", "), String(violated)]];
  });
  const head = [
    "profile",
    "breaks",
    "what",
    "worlds",
    "not promised, and broken in",
    "with a violation of the rest",
  ];
  return table(head, rows);
}

function mutantTable(mutants, what) {
  const finds = JSON.parse(read("test/sim/mutant-findings.json"));
  const rows = mutants.map(({ name, edits, profile, worlds }) => {
    const find = finds.find((each) => each.name === name);
    const files = [...new Set(edits.map(({ file }) => `\`${file}.ts\``))].join(", ");
    return [
      name,
      files,
      profile,
      figure(worlds),
      find?.checker ?? "",
      find === undefined ? "" : figure(find.world),
    ];
  });
  return table([what, "planted in", "profile", "budget in worlds", "seen by", "first in world"], rows);
}

/** How evenly a million keys are spread, and how many move when a shard is added. */
function balanceTable() {
  const keys = Array.from({ length: 1_000_000 }, (_, i) => `account:${i}`);
  const place = (n) => {
    const shards = createShards(Array.from({ length: n }, (_, i) => ({ name: `locks-${i + 1}` })));
    return keys.map((key) => shards.shardFor(key).name);
  };
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const rows = [2, 4, 16, 64].map((n) => {
    const before = place(n);
    const counts = new Map();
    for (const name of before) counts.set(name, (counts.get(name) ?? 0) + 1);
    const mean = keys.length / n;
    const after = place(n + 1);
    const moved = after.filter((name, i) => name !== before[i]);
    const astray = moved.filter((name) => name !== `locks-${n + 1}`).length;
    return [
      String(n),
      percent(Math.min(...counts.values()) / mean),
      percent(Math.max(...counts.values()) / mean),
      percent(1 / (n + 1)),
      percent(moved.length / keys.length),
      String(astray),
    ];
  });
  const head = [
    "shards",
    "emptiest, of the mean",
    "fullest, of the mean",
    "should move to one more",
    "moved",
    "to any other",
  ];
  return `${table(head, rows)}\n\nA million keys; a test holds all of it against a fair draw.`;
}

function vectorTable() {
  const shown = ["a", "invoice:42", "order:7", "käse", "🔑"];
  const lists = JSON.parse(read("test/shard/vectors.json"));
  const rows = lists
    .filter(({ shards }) => shards.length > 1 && shards.length < 10)
    .map(({ shards, fingerprint, keys }) => [
      shards.map(({ name, weight }) => (weight === 1 ? name : `${name} (${weight})`)).join(", "),
      `\`${fingerprint}\``,
      ...shown.map((key) => keys[key]),
    ]);
  const head = ["shards (weight)", "fingerprint", ...shown.map((key) => `\`${key}\``)];
  return `${table(head, rows)}\n\nMore of them: \`test/shard/vectors.json\`.`;
}

function scoreTable() {
  const { date, files } = JSON.parse(read("test/mutation/figures.json"));
  const cells = ({ killed, timeout, survived, noCoverage }) => {
    const found = killed + timeout;
    const all = found + survived + noCoverage;
    const percent = all === 0 ? "" : `${((100 * found) / all).toFixed(1)} %`;
    return [...[all, killed, timeout, survived + noCoverage].map(figure), percent];
  };
  const rows = Object.keys(files)
    .sort()
    .map((file) => [`\`${file}\``, ...cells(files[file])]);
  const sum = (of) => Object.values(files).reduce((total, counts) => total + counts[of], 0);
  const kinds = ["killed", "timeout", "survived", "noCoverage"];
  rows.push(["**all**", ...cells(Object.fromEntries(kinds.map((kind) => [kind, sum(kind)])))]);
  const missing = readdirSync(`${root}src/engine`)
    .filter((name) => name.endsWith(".ts") && files[`src/engine/${name}`] === undefined)
    .map((name) => `\`${name}\``);
  const note = missing.length === 0 ? "" : ` Not in that run: ${missing.join(", ")}.`;
  return `Run on ${date}.${note}\n\n${table(["file", "mutants", "killed", "timeout", "live", "score"], rows)}`;
}

function survivorTable() {
  const { survivors } = JSON.parse(read("test/mutation/figures.json"));
  const reasons = JSON.parse(read("test/mutation/reasons.json"));
  const rows = survivors.map((survivor) => {
    const { why } = reasons.find((reason) => nameOf(reason) === nameOf(survivor)) ?? {};
    if (why === undefined) throw new Error(`no reason is given for ${nameOf(survivor)}`);
    return [`\`${survivor.file}\``, survivor.in, `\`${survivor.before}\``, `\`${survivor.after}\``, why];
  });
  return table(["file", "in", "instead of", "lives", "since"], rows);
}

let stale = 0;
for (const [page, parts] of Object.entries(PAGES)) {
  const before = read(page);
  let after = before;
  for (const [part, make] of Object.entries(parts)) {
    const span = new RegExp(`(<!-- generated: ${part} -->\\n)[\\s\\S]*?(<!-- end -->)`);
    if (!span.test(after)) throw new Error(`${page} has no place for ${part}`);
    const text = await make();
    after = after.replace(span, (_, start, end) => `${start}\n${text}\n\n${end}`);
  }
  after = await format(after, { filepath: `${root}${page}`, printWidth: 110 });
  if (after === before) continue;
  if (process.argv.includes("--check")) {
    console.error(`${page} is not up to date: run node scripts/docs.mjs`);
    stale++;
  } else writeFileSync(`${root}${page}`, after);
}
process.exit(stale === 0 ? 0 : 1);
