// One question over a fresh connection, for servers that speak text.
import { connect } from "node:net";

export interface TextCall {
  port: number;
  timeoutMs: number;
  /** The answer is whole when it ends so; without it, when the server closes the connection. */
  end?: string;
}

export function textCall(call: TextCall, question: string): Promise<string> {
  const { port, timeoutMs, end } = call;
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(question));
    const timer = setTimeout(() => fail(new Error(`no reply within ${timeoutMs} ms`)), timeoutMs);
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
    };
    const fail = (error: Error): void => {
      finish();
      reject(error);
    };
    const succeed = (): void => {
      finish();
      resolve(answer);
    };
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
      if (end !== undefined && answer.endsWith(end)) succeed();
    });
    socket.on("end", () => (end === undefined ? succeed() : fail(new Error("the connection was closed"))));
    socket.on("error", fail);
  });
}
