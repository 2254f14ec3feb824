/** Every kind of backend that can be put under chaos. A new adapter adds its file to kinds/ and a line here. */
import type { Kind } from "./kind.ts";
import { durableRedis, volatileRedis } from "./kinds/redis.ts";

const KINDS: readonly Kind[] = [volatileRedis, durableRedis];

/** Their names, for the help text. */
export const kindNames: readonly string[] = KINDS.map(({ name }) => name);

/** The kind of that name. */
export function kindOf(name: string): Kind {
  const kind = KINDS.find((each) => each.name === name);
  if (kind === undefined)
    throw new Error(`no kind ${JSON.stringify(name)}; there are ${kindNames.join(", ")}`);
  return kind;
}
