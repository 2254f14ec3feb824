import { defineConfig } from "vitest/config";

/**
 * Two kinds of tests. "pure" needs nothing but Node and runs in parallel; "servers" starts real servers and measures
 * time, so its files run one after the other.
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
  "test/peers/**/*.test.ts",
  "test/chaos/**/*.test.ts",
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
        test: { name: "pure", include: ["test/**/*.test.ts"], exclude: SERVERS },
      },
      {
        extends: true,
        test: { name: "servers", include: SERVERS, fileParallelism: false },
      },
    ],
  },
});
