// What a lock needs of MongoDB, asked of the server that tests run: the product, or what stands in for it.
import { Long, MongoClient, MongoServerError, type Collection } from "mongodb";
import { afterAll, beforeAll, expect, test as plainTest } from "vitest";
import { describeWithServer } from "./needs.ts";
import type { RunningServer } from "./running-server.ts";
import { startMongodb } from "./start-mongodb.ts";

interface Lock {
  _id: string;
  owner?: string;
  token?: Long | number;
  expiresAtMs?: Long | number;
  nowMs?: Long | number;
}

const confirmed = { w: "majority", j: true, wtimeoutMS: 5000 } as const;

/** One statement: takes the lock if it is free by the server's own clock. A null comes of a lost race for the first document, and is repeated. */
async function acquire(
  locks: Collection<Lock>,
  want: { _id: string; owner: string; ttlMs: number },
): Promise<Lock> {
  const { _id, owner, ttlMs } = want;
  const ask = (): Promise<Lock | null> =>
    locks.findOneAndUpdate(
      { _id },
      [
        { $set: { nowMs: { $toLong: "$$NOW" } } },
        { $set: { free: { $lte: [{ $ifNull: ["$expiresAtMs", Long.ZERO] }, "$nowMs"] } } },
        {
          $set: {
            token: { $cond: ["$free", { $add: [{ $ifNull: ["$token", Long.ZERO] }, Long.ONE] }, "$token"] },
            owner: { $cond: ["$free", { $literal: owner }, "$owner"] },
            expiresAtMs: { $cond: ["$free", { $add: ["$nowMs", ttlMs] }, "$expiresAtMs"] },
          },
        },
        { $unset: "free" },
      ],
      { upsert: true, returnDocument: "after", writeConcern: confirmed },
    );
  const answer = (await ask()) ?? (await ask());
  if (answer === null) throw new Error("no document twice");
  return answer;
}

await describeWithServer("mongodb", "the server of the tests", () => {
  let server: RunningServer;
  let client: MongoClient;
  beforeAll(async () => {
    server = await startMongodb();
    client = new MongoClient(server.url, { retryWrites: false, retryReads: false });
  });
  afterAll(async () => {
    await client.close();
    await server.stop();
  });
  const test = plainTest.extend<{ locks: Collection<Lock> }>({
    locks: async ({ task }, use) => use(client.db("test").collection<Lock>(task.id)),
  });

  test("runs an update pipeline with its own clock, literals and conditions, and makes the document", async ({
    locks,
  }) => {
    const first = await acquire(locks, { _id: "a 'b' \"ü\" $c.d*", owner: "$first", ttlMs: 60_000 });
    expect(first).toMatchObject({ owner: "$first", token: 1 });
    expect(Math.abs(Number(first.nowMs) - Date.now())).toBeLessThan(10_000);
    expect(Number(first.expiresAtMs)).toBe(Number(first.nowMs) + 60_000);
    const second = await acquire(locks, { _id: first._id, owner: "$second", ttlMs: 60_000 });
    expect(second).toMatchObject({ owner: "$first", token: 1, expiresAtMs: first.expiresAtMs });
    await locks.updateOne({ _id: first._id, owner: "$first" }, { $set: { expiresAtMs: Long.ZERO } });
    expect(await acquire(locks, { _id: first._id, owner: "$second", ttlMs: 1 })).toMatchObject({
      owner: "$second",
      token: 2,
    });
  });

  test("grants to one of many that ask at once, for a new document and for an old one", async ({ locks }) => {
    for (const _id of ["new", "new", "newer"]) {
      const owners = Array.from({ length: 32 }, (_, index) => `owner ${index}`);
      const answers = await Promise.all(owners.map((owner) => acquire(locks, { _id, owner, ttlMs: 60_000 })));
      expect(new Set(answers.map(({ owner }) => owner)).size).toBe(1);
      expect(new Set(answers.map(({ token }) => Number(token))).size).toBe(1);
      await locks.updateOne({ _id }, { $set: { expiresAtMs: Long.ZERO } });
    }
  });

  test("refuses a second document of one id with 11000, and an update whose filter does not hold with null", async ({
    locks,
  }) => {
    await locks.insertOne({ _id: "a", owner: "first" }, { writeConcern: confirmed });
    const again = locks.insertOne({ _id: "a", owner: "second" }).catch((error: unknown) => error);
    expect(await again).toBeInstanceOf(MongoServerError);
    expect(await again).toMatchObject({ code: 11_000 });
    const update = { $set: { owner: "second" } };
    expect(await locks.findOneAndUpdate({ _id: "a", owner: "nobody" }, update)).toBe(null);
    const upsert = { upsert: true } as const;
    await expect(locks.findOneAndUpdate({ _id: "a", owner: "nobody" }, update, upsert)).rejects.toThrow(
      "E11000",
    );
    expect(await locks.findOne({ _id: "a" })).toMatchObject({ owner: "first" });
  });

  test("keeps whole numbers beyond those of JavaScript", async ({ locks }) => {
    const token = Long.fromString("9007199254740993");
    await locks.insertOne({ _id: "a", token });
    const options = { returnDocument: "after", promoteLongs: false } as const;
    const next = await locks.findOneAndUpdate(
      { _id: "a" },
      [{ $set: { token: { $add: ["$token", Long.ONE] } } }],
      options,
    );
    expect(String(next?.token)).toBe("9007199254740994");
  });

  test("says what time it is", async () => {
    const hello = await client.db().command({ hello: 1 });
    expect(hello["localTime"]).toBeInstanceOf(Date);
  });
});
