/** The keys that have a lock: those whose lock key is there. */
import type { ListPage, ListRequest } from "../../backend.js";
import type { EtcdLike } from "./client.js";
import { bytes, textOf } from "./compare.js";
import type { Call } from "./leases.js";

/** One page, in the order of the keys. */
export async function listKeys(
  where: { readonly client: EtcdLike; readonly call: Call; readonly prefix: string },
  { prefix: wanted, cursor, pageSize }: ListRequest,
): Promise<ListPage> {
  const { client, call, prefix } = where;
  const folder = bytes(`${prefix}/l/`);
  const from = bytes(`${prefix}/l/${wanted}`);
  const key = cursor === undefined ? from : Buffer.from(cursor, "base64");
  const request = { key, range_end: after(from), limit: pageSize, keys_only: true };
  const { kvs, more } = await call((options) => client.kv.range(request, options));
  const last = kvs.at(-1);
  return {
    keys: kvs.map((each) => textOf(each.key.subarray(folder.length))),
    next:
      more && last !== undefined
        ? Buffer.concat([Buffer.from(last.key), Buffer.of(0)]).toString("base64")
        : undefined,
  };
}

/** The first key that does not begin with `from`; never without one, since all begin with a prefix of ASCII. */
function after(from: Buffer): Buffer {
  const end = Buffer.from(from);
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] ?? 0;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return end.subarray(0, i + 1);
    }
  }
  return Buffer.of(0);
}
