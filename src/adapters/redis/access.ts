/** What the ACL of a Redis user must allow, and what it allows beyond: asked of the server, never tried. */
import type { Finding } from "../../backend.js";

/** Where a backend keeps its keys. */
export interface Stored {
  readonly prefix: string;
  /** The client's own, in front of all keys; "" for none. */
  readonly keyPrefix: string;
}

/** The commands of the scripts, and of their calls. */
const COMMANDS = ["evalsha", "eval", "info", "get", "set", "del", "pttl", "pexpire", "time"] as const;
/** On which keys each of them acts. */
const ON_KEYS: Readonly<Record<string, readonly ("lock" | "counter" | "mark")[]>> = {
  get: ["lock", "counter", "mark"],
  set: ["lock", "counter", "mark"],
  del: ["lock"],
  pttl: ["lock"],
  pexpire: ["lock", "counter", "mark"],
};
/** What a command needs behind its key to be well-formed; never executed. */
const TAIL: Readonly<Record<string, string>> = { set: " v", pexpire: " 1", evalsha: " s 0", eval: " s 0" };
/** What is worth having in addition, and what goes without it. */
function extras({ prefix, keyPrefix }: Stored): readonly (readonly [question: string, without: string])[] {
  const line = `${keyPrefix}{${prefix}:quorum-lock-check}:w`;
  const uncalled =
    "waiters are not called when a lock is free, and ask now and then (docs/adapters/redis.md)";
  return [
    ["scan 0", "list needs +scan"],
    ["config get appendfsync", "check needs +config|get to see whether it is durable"],
    [`subscribe ${prefix}:i:x`, uncalled],
    [`publish ${prefix}:i:x m`, uncalled],
    [`zadd ${line} 1 t`, uncalled],
    [`zrem ${line} t`, uncalled],
    [`zpopmin ${line}`, uncalled],
    [`zrange ${line} 0 0`, uncalled],
  ];
}

/** What no lock needs and what could do harm to one. */
const BEYOND = [
  ["flushall", "flushall"],
  ["config set maxmemory-policy noeviction", "config|set"],
  ["del quorum-lock-somebody-elses-key", "keys that are not the lock's"],
] as const;

/** Commands to ask about, in the order of {@link accessFinding}; each a text with blanks between its words. */
export function accessQuestions(stored: Stored): readonly string[] {
  return [...needed(stored), ...extras(stored).map(([text]) => text), ...BEYOND.map(([text]) => text)];
}

/** What the answers mean: a "1" for each command that the user may run, else a "0"; "" where the server cannot tell. */
export function accessFinding(stored: Stored, user: string, answers: string): Finding {
  const topic = "access";
  const questions = accessQuestions(stored);
  if (answers.length !== questions.length) {
    return { level: "warning", topic, text: `what user ${user} may do cannot be told`, remedy: rule(stored) };
  }
  const may = (question: string): boolean => answers[questions.indexOf(question)] === "1";
  const denied = needed(stored).filter((question) => !may(question));
  if (denied.length > 0) {
    const commands = [...new Set(denied.map((question) => question.split(" ", 1)[0] ?? ""))];
    return {
      level: "problem",
      topic,
      text: `user ${user} may not run what the lock needs on its keys: ${commands.join(", ")}`,
      remedy: rule(stored),
    };
  }
  const beyond = BEYOND.filter(([question]) => may(question)).map(([, name]) => name);
  if (beyond.length > 0) {
    return {
      level: "warning",
      topic,
      text: `user ${user} may do more than a lock needs: ${beyond.join(", ")}`,
      remedy: `use a user of its own: ${rule(stored)}`,
    };
  }
  const lacking = new Set(
    extras(stored)
      .filter(([question]) => !may(question))
      .map(([, without]) => `; ${without}`),
  );
  return {
    level: "good",
    topic,
    text: `user ${user} may do what a lock needs, not more${[...lacking].join("")}`,
  };
}

/** The least ACL rule. */
function rule({ prefix, keyPrefix }: Stored): string {
  const commands = COMMANDS.map((each) => `+${each}`).join(" ");
  return `ACL SETUSER locks on >PASSWORD ~${keyPrefix}{${prefix}:* ~${keyPrefix}${prefix}:mark ${commands}`;
}

function needed({ prefix, keyPrefix }: Stored): readonly string[] {
  const keys = {
    lock: `${keyPrefix}{${prefix}:quorum-lock-check}:l`,
    counter: `${keyPrefix}{${prefix}:quorum-lock-check}:f`,
    mark: `${keyPrefix}${prefix}:mark`,
  };
  return COMMANDS.flatMap((command) => {
    const tail = TAIL[command] ?? "";
    return ON_KEYS[command]?.map((which) => `${command} ${keys[which]}${tail}`) ?? [`${command}${tail}`];
  });
}
