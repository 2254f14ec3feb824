/** Lists the keys of locks by SCAN: some of the whole keyspace at a time, so that no page blocks the server. */
import type { ListPage, ListRequest } from "../../backend.js";

/** One page. `command` runs a Redis command; `stored` says what stands before a key of a lock. */
export async function listKeys(
  command: (name: string, ...args: string[]) => Promise<unknown>,
  stored: { readonly prefix: string; readonly keyPrefix: string },
  { prefix, cursor, pageSize }: ListRequest,
): Promise<ListPage> {
  const before = `${stored.keyPrefix}{${stored.prefix}:`;
  const after = "}:l";
  const pattern = `${literal(before + prefix)}*${literal(after)}`;
  const reply = await command("SCAN", cursor ?? "0", "MATCH", pattern, "COUNT", String(pageSize));
  const [next, names] = Array.isArray(reply) ? (reply as readonly unknown[]) : [];
  const keys = (Array.isArray(names) ? names : []).map((name) =>
    String(name).slice(before.length, -after.length),
  );
  return { keys, next: String(next) === "0" ? undefined : String(next) };
}

/** The text as a pattern that matches nothing else. */
function literal(text: string): string {
  return text.replace(/[*?[\]\\^-]/g, "\\$&");
}
