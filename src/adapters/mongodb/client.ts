/** The part of a MongoClient that the adapter uses. Structural, so that no client is imported. */

/** A `MongoClient` of the package mongodb. */
export interface MongoLike {
  connect(): Promise<unknown>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what it returns differs from one release to another
  db(name: string, options?: any): any;
}

/** A document as the adapter stores them. Texts and dates only, which no setting of a client changes. */
export interface Stored {
  readonly _id: string | { readonly ql: "mark" };
  /** Random, new for every write. */
  readonly v: string;
  /** The text of a record, or of the mark. */
  readonly text: string;
  /** The generation, the same in all documents that were there when a quarantine was begun by hand. */
  readonly g?: string;
  /** When it may be deleted; not in the mark. */
  readonly forgetAt?: Date;
}

/** A document that was read, with the server's clock. */
export interface Found {
  readonly _id: unknown;
  readonly v?: unknown;
  readonly text?: unknown;
  readonly g?: unknown;
  /** Milliseconds since 1970, as text. */
  readonly nowMs: string;
}

/** A collection, as far as it is used. Every call takes `timeoutMS`, by which the driver gives it up. */
export interface Collection {
  aggregate(stages: readonly object[], options: object): { toArray(): Promise<Found[]> };
  insertOne(document: Stored, options: object): Promise<unknown>;
  updateOne(filter: object, change: object, options: object): Promise<{ readonly matchedCount: number }>;
  updateMany(filter: object, change: object, options: object): Promise<unknown>;
  deleteMany(filter: object, options: object): Promise<unknown>;
  createIndex(keys: object, options: object): Promise<unknown>;
}

/** A database, as far as it is used. */
export interface Database {
  collection(name: string, options: object): Collection;
  command(command: object, options: object): Promise<Readonly<Record<string, unknown>>>;
}

/** Whether it looks like a MongoClient. */
export function isClient(client: unknown): client is MongoLike {
  return (
    typeof client === "object" &&
    client !== null &&
    typeof Reflect.get(client, "connect") === "function" &&
    typeof Reflect.get(client, "db") === "function" &&
    Array.isArray(Reflect.get(Object(Reflect.get(client, "options")), "hosts"))
  );
}

/** What messages call the server of a client. */
export function nameOf(client: MongoLike): string {
  const hosts = Reflect.get(Object(Reflect.get(client, "options")), "hosts") as readonly object[];
  return hosts.map(String).join(",");
}

/** Whether it was connected once, so that a request is sent at once or not at all. */
export function isConnected(client: MongoLike): boolean {
  const topology: unknown = Reflect.get(client, "topology");
  const isIt: unknown = Reflect.get(Object(topology), "isConnected");
  return typeof isIt === "function" && isIt.call(topology) === true;
}

/** What the driver last met when it looked for the servers; undefined while all is well. */
export function complaintOf(client: MongoLike): unknown {
  const topology: unknown = Reflect.get(client, "topology");
  const servers: unknown = Reflect.get(Object(Reflect.get(Object(topology), "description")), "servers");
  if (!(servers instanceof Map)) return undefined;
  for (const server of servers.values()) {
    const error: unknown = Reflect.get(Object(server), "error");
    if (error !== null && error !== undefined) return error;
  }
  return undefined;
}
