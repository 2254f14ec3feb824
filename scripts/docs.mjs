/**
 * Writes the tables of the docs from the source, so that no figure and no code is typed twice.
 * `node scripts/docs.mjs` writes; `node scripts/docs.mjs --check` fails when a page is not up to date.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { EXIT, EXIT_RULES } from "../dist/cli/exit-codes.js";
import { COMMANDS } from "../dist/cli/command-table.js";
import { JSON_FIELDS } from "../dist/cli/json-fields.js";
import { exactMs } from "../dist/config/duration.js";
import { KINDS } from "../dist/config/kinds.js";
import { FIELDS, fieldVariableOf, flagOf, SETTINGS, variableOf } from "../dist/config/schema.js";
import { DEFAULTS, LIMITS } from "../dist/options.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path) => readFileSync(`${root}${path}`, "utf8");

const PAGES = {
  "docs/options.md": { options: optionTables },
  "docs/errors.md": { errors: errorTables },
  "docs/cli.md": { help: helpTexts, exits: exitTable },
  "docs/cli-json.md": { fields: jsonTables },
  "docs/configuration.md": { settings: settingTable, kinds: kindTable, properties: propertyTable },
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

let stale = 0;
for (const [page, parts] of Object.entries(PAGES)) {
  const before = read(page);
  let after = before;
  for (const [part, make] of Object.entries(parts)) {
    const span = new RegExp(`(<!-- generated: ${part} -->\\n)[\\s\\S]*?(<!-- end -->)`);
    if (!span.test(after)) throw new Error(`${page} has no place for ${part}`);
    after = after.replace(span, (_, start, end) => `${start}\n${make()}\n\n${end}`);
  }
  after = await format(after, { filepath: `${root}${page}`, printWidth: 110 });
  if (after === before) continue;
  if (process.argv.includes("--check")) {
    console.error(`${page} is not up to date: run node scripts/docs.mjs`);
    stale++;
  } else writeFileSync(`${root}${page}`, after);
}
process.exit(stale === 0 ? 0 : 1);
