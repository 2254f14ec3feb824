import { defineConfig } from "vitest/config";

/**
 * Kinds of tests, one after the other. "pure" and "worlds" need nothing but Node; "servers" starts real servers, and mostly waits for them;
 * "alone" also measures how long something takes, so its files run one after the other.
 */
const SERVERS = [
  "test/servers/**/*.test.ts",
  "test/redis/**/*.test.ts",
  "test/examples/**/*.test.ts",
  "test/postgres/**/*.test.ts",
  "test/mysql/**/*.test.ts",
  "test/sqlite/**/*.test.ts",
  "test/etcd/**/*.test.ts",
  "test/memcached/**/*.test.ts",
  "test/consul/**/*.test.ts",
  "test/zookeeper/**/*.test.ts",
  "test/mongodb/**/*.test.ts",
  "test/guard/**/*.test.ts",
  "test/cli/**/*.test.ts",
  "test/chaos/**/*.test.ts",
];

/** Need nothing but Node either, but no other version of it: that one has the same traces, or `npm run test:newest-node` fails. */
const WORLDS = ["test/sim/{worlds,mutants}.test.ts"];

const ALONE = [
  "test/redis/{clients,contention,faults,hand-over,locker,node-redis}.test.ts",
  "test/sqlite/processes.test.ts",
  "test/cli/{run,run-faults,run-watcher,shared-clock}.test.ts",
  "test/peers/**/*.test.ts",
];

export default defineConfig({
  test: {
    reporters: ["default", "./test/setup/budget-reporter.ts"],
    globalSetup: ["./test/setup/built.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "pure",
          include: ["test/**/*.test.ts"],
          exclude: [...SERVERS, ...ALONE, ...WORLDS],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "worlds", include: WORLDS, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: "servers", include: SERVERS, exclude: ALONE, sequence: { groupOrder: 1 } },
      },
      {
        extends: true,
        test: { name: "alone", include: ALONE, fileParallelism: false, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
