/**
 * `npm run bench:guards`: a guarded write against the same write unguarded, on servers of its own, one connection, one at
 * a time. Interleaved; medians of the rounds. Writes the figures into docs/fencing.md (not with --quick).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { createServer } from "node:http";
import { Redis } from "ioredis";
import mysql from "mysql2/promise";
import pg from "pg";
import { format } from "prettier";
import { createHighWaterMarks, guardInProcess } from "../dist/index.js";
import { createHttpGuard, fencingHeaders, memoryMarks } from "../dist/guard/http.js";
import { guardMysql, mysqlMarksSchema } from "../dist/guard/mysql.js";
import { guardPostgres, postgresMarksSchema } from "../dist/guard/postgres.js";
import { guardedSet } from "../dist/guard/redis.js";
import { startMariadb, startPostgres } from "../test/servers/sql-server.mjs";
import { startServers } from "./servers.mjs";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 3 : 15;
const WRITES = quick ? 50 : 300;
const PAGE = fileURLToPath(new URL("../docs/fencing.md", import.meta.url));

const lease = { key: "account:7", token: 1_795_000_000_000_000n };
const rows = [];
// Servers that are being stopped do not keep a process alive by themselves.
const alive = setInterval(() => undefined, 60_000);
for (const subject of [inProcess, redis, postgres, mariadb, http]) rows.push(await subject());
clearInterval(alive);

const table = await format(report(), { parser: "markdown", printWidth: 110 });
console.log(table);
if (!quick) {
  const page = readFileSync(PAGE, "utf8");
  const span = /(<!-- measured: guards -->\n)[\s\S]*?(<!-- end -->)/;
  if (!span.test(page)) throw new Error("docs/fencing.md has no place for the figures");
  writeFileSync(
    PAGE,
    page.replace(span, (_, start, end) => `${start}\n${table}\n${end}`),
  );
}

/** The two take turns write by write, so that whatever else the machine does meets both alike. */
async function compare(name, { plain, guarded, repeat = 1 }) {
  const medians = { plain: [], guarded: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    const times = { plain: [], guarded: [] };
    for (let i = 0; i < WRITES; i++) {
      for (const which of i % 2 === 0 ? ["plain", "guarded"] : ["guarded", "plain"]) {
        const write = which === "plain" ? plain : guarded;
        const at = performance.now();
        for (let j = 0; j < repeat; j++) {
          const done = write();
          // An await costs more than a check in memory.
          if (done instanceof Promise) await done;
        }
        times[which].push(((performance.now() - at) * 1000) / repeat);
      }
    }
    if (round === 0) continue; // warm-up
    medians.plain.push(median(times.plain));
    medians.guarded.push(median(times.guarded));
  }
  process.stderr.write(`${name}: done\n`);
  return { name, ...medians };
}

async function inProcess() {
  const marks = createHighWaterMarks();
  const balances = new Map();
  return compare("`guardInProcess`: a `Map`", {
    repeat: 1000,
    plain: () => balances.set(lease.key, 1),
    guarded: () => {
      guardInProcess(marks, lease);
      balances.set(lease.key, 1);
    },
  });
}

async function redis() {
  const servers = await startServers(1);
  const client = new Redis({ host: "127.0.0.1", port: servers.list[0].port });
  try {
    return await compare("`guardedSet`: SET", {
      plain: () => client.set("data", "1"),
      guarded: () => guardedSet(client, lease, { key: "data", value: "1" }),
    });
  } finally {
    client.disconnect();
    await servers.stop();
  }
}

async function postgres() {
  const server = await startPostgres();
  const client = new pg.Client(server.url);
  try {
    await client.connect();
    await client.query(postgresMarksSchema());
    await client.query("CREATE TABLE data (id int PRIMARY KEY, n bigint)");
    await client.query("INSERT INTO data VALUES (1, 0)");
    return await sql(`\`guardPostgres\`: BEGIN, UPDATE, COMMIT`, client, () => guardPostgres(client, lease));
  } finally {
    await client.end();
    await server.stop();
  }
}

async function mariadb() {
  const server = await startMariadb();
  const connection = await mysql.createConnection(server.url);
  try {
    await connection.query(mysqlMarksSchema());
    await connection.query("CREATE TABLE data (id INT PRIMARY KEY, n BIGINT) ENGINE=InnoDB");
    await connection.query("INSERT INTO data VALUES (1, 0)");
    return await sql("`guardMysql` on MariaDB: BEGIN, UPDATE, COMMIT", connection, () =>
      guardMysql(connection, lease),
    );
  } finally {
    await connection.end();
    await server.stop();
  }
}

function sql(name, client, guard) {
  const write = async (check) => {
    await client.query("BEGIN");
    await check?.();
    await client.query("UPDATE data SET n = n + 1 WHERE id = 1");
    await client.query("COMMIT");
  };
  return compare(name, { plain: () => write(undefined), guarded: () => write(guard) });
}

async function http() {
  const guard = createHttpGuard({ marks: memoryMarks() });
  const server = createServer((request, response) => {
    if (request.url === "/guarded") guard.middleware(request, response, () => response.end());
    else response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const send = async (path, headers) => {
    const response = await fetch(url + path, { method: "PUT", headers });
    if (response.status !== 200) throw new Error(`answer ${response.status}`);
    await response.text();
  };
  try {
    return await compare("`createHttpGuard` with `memoryMarks`: an empty PUT", {
      plain: () => send("/", {}),
      guarded: () => send("/guarded", { ...fencingHeaders(lease) }),
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function report() {
  const micros = (values) => (median(values) < 10 ? median(values).toFixed(2) : median(values).toFixed(0));
  const ratio = (row) => median(row.guarded.map((each, i) => each / row.plain[i])).toFixed(2);
  const lines = rows.map(
    (row) => `| ${row.name} | ${micros(row.plain)} | ${micros(row.guarded)} | ${ratio(row)} |`,
  );
  return `Written by \`npm run bench:guards\`, not by hand. Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}, client and
server on one machine, one connection, one write at a time. Medians of ${ROUNDS} rounds of ${WRITES} writes each, the two
taking turns write by write, in µs.

| guard, and the write | unguarded | guarded | ratio |
|---|---|---|---|
${lines.join("\n")}
`;
}
