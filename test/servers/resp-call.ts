// One command over a fresh connection, in RESP2: a witness that shares nothing with the client library under test.
import { connect } from "node:net";

export type Reply = string | number | null | ReplyError | Reply[];

/** An error the server answered with; `message` is its text. Thrown when it is the whole reply, an element when it is inside an array. */
export class ReplyError extends Error {
  override name = "ReplyError";
}

export interface RespTarget {
  port: number;
  timeoutMs: number;
  auth?: readonly string[] | undefined;
}

/** Sends one command and returns its reply. Rejects after `timeoutMs`, when the connection fails, and with {@link ReplyError}. */
export function respCall(target: RespTarget, args: readonly (string | number)[]): Promise<Reply> {
  const commands = target.auth === undefined ? [args] : [["AUTH", ...target.auth], args];
  return new Promise((resolve, reject) => {
    const socket = connect(target.port, "127.0.0.1");
    const chunks: Buffer[] = [];
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      finish();
    };
    const fail = (message: string): void =>
      settle(() => reject(new Error(`${String(args[0])} to port ${target.port}: ${message}`)));
    const timer = setTimeout(() => fail(`no reply within ${target.timeoutMs} ms`), target.timeoutMs);
    socket.once("connect", () => socket.write(commands.map(encode).join("")));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      const replies = decodeAll(Buffer.concat(chunks), commands.length);
      if (replies === undefined) return;
      const wrong = replies.find((reply) => reply instanceof ReplyError);
      settle(() => (wrong === undefined ? resolve(replies.at(-1) ?? null) : reject(wrong)));
    });
    socket.once("error", (error) => fail(error.message));
    socket.once("close", () => fail("connection closed"));
  });
}

function encode(args: readonly (string | number)[]): string {
  const parts = args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${String(arg)}\r\n`);
  return `*${args.length}\r\n${parts.join("")}`;
}

/** `undefined` while the bytes do not yet hold `count` whole replies. */
function decodeAll(bytes: Buffer, count: number): Reply[] | undefined {
  const replies: Reply[] = [];
  let at = 0;
  while (replies.length < count) {
    const next = decode(bytes, at);
    if (next === undefined) return undefined;
    replies.push(next.reply);
    at = next.end;
  }
  return replies;
}

function decode(bytes: Buffer, at: number): { reply: Reply; end: number } | undefined {
  const lineEnd = bytes.indexOf("\r\n", at);
  if (lineEnd === -1) return undefined;
  const kind = bytes.toString("latin1", at, at + 1);
  const line = bytes.toString("utf8", at + 1, lineEnd);
  const end = lineEnd + 2;
  switch (kind) {
    case "+":
      return { reply: line, end };
    case "-":
      return { reply: new ReplyError(line), end };
    case ":":
      return { reply: Number(line), end };
    case "$": {
      const length = Number(line);
      if (length === -1) return { reply: null, end };
      if (bytes.length < end + length + 2) return undefined;
      return { reply: bytes.toString("utf8", end, end + length), end: end + length + 2 };
    }
    case "*":
      return decodeArray(bytes, end, Number(line));
    default:
      throw new Error(`not RESP2: a reply that begins with ${JSON.stringify(kind)}`);
  }
}

function decodeArray(
  bytes: Buffer,
  start: number,
  length: number,
): { reply: Reply; end: number } | undefined {
  if (length === -1) return { reply: null, end: start };
  const reply: Reply[] = [];
  let end = start;
  while (reply.length < length) {
    const next = decode(bytes, end);
    if (next === undefined) return undefined;
    reply.push(next.reply);
    end = next.end;
  }
  return { reply, end };
}
