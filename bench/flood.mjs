/**
 * What one server does at most: the very requests that a locker sends, taken down once, and sent again for other keys down one
 * socket as fast as the server answers. Node's own work, which would be the bottleneck, is done beforehand.
 */
import { once } from "node:events";
import { connect } from "node:net";

/** So many digits that a key in a request is as long as any other one. */
const DIGITS = 8;
/** Requests that wait for the server at a time. */
const WINDOW = 200;

/**
 * Acquires of free keys, so many to a request. Resolves to how many the server did in a second.
 * @param {number} port
 * @param {{ locker: { acquire(key: string): Promise<unknown> }, client: import("ioredis").Redis, together: number, count: number }} flood
 */
export async function flooded(port, { locker, client, together, count }) {
  const request = await takeDown(client.stream, () =>
    Promise.all(Array.from({ length: together }, (_, i) => locker.acquire(keyOf(together, i)))),
  );
  const requests = [];
  for (let from = together; from < count + together; from += together) requests.push(renumber(request, from));
  const windows = [];
  for (let at = 0; at < requests.length; at += WINDOW) {
    windows.push(Buffer.from(`${requests.slice(at, at + WINDOW).join("")}*1\r\n$4\r\nPING\r\n`));
  }
  const keysBefore = await client.dbsize();
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const startedAt = performance.now();
  await sendAll(socket, windows);
  const seconds = (performance.now() - startedAt) / 1000;
  socket.destroy();
  const acquired = requests.length * together;
  const kept = (await client.dbsize()) - keysBefore;
  // A lock and a counter of each.
  if (kept !== 2 * acquired) throw new Error(`${acquired} acquires left ${kept} keys, not twice as many`);
  return acquired / seconds;
}

/** What goes down a socket while `run` runs. */
async function takeDown(stream, run) {
  let text = "";
  const { write } = stream;
  stream.write = (chunk, ...more) => {
    text += chunk.toString("latin1");
    return write.call(stream, chunk, ...more);
  };
  try {
    await run();
  } finally {
    stream.write = write;
  }
  return text;
}

function keyOf(together, i) {
  return `flood-${together}-${String(i).padStart(DIGITS, "0")}`;
}

function renumber(request, from) {
  return request.replace(
    /(flood-\d+-)(\d{8})/g,
    (_, name, i) => name + String(Number(i) + from).padStart(DIGITS, "0"),
  );
}

const PONG = "+PONG\r\n";

/** Resolves when all was answered. Two windows are on their way at a time, so that the server never waits for the next. */
function sendAll(socket, windows) {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let pongs = 0;
    let rest = "";
    const send = () => {
      if (sent < windows.length) socket.write(windows[sent++]);
    };
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server closed the connection")));
    socket.on("data", (data) => {
      const parts = (rest + data.toString("latin1")).split(PONG);
      // Of a PONG that is not here whole yet.
      rest = (parts.at(-1) ?? "").slice(1 - PONG.length);
      for (let i = 1; i < parts.length; i++) {
        pongs++;
        send();
      }
      if (pongs === windows.length) resolve();
    });
    send();
    send();
  });
}
