// Loopback ports for servers that are killed and started again on the same port. Plain JavaScript, because benchmarks use it too and Node 20
// runs no TypeScript.
// @ts-check
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * A port that was free a moment ago; two processes may be told the same one, so the caller tries again when it turns out to be taken.
 *
 * It lies below the range the kernel gives to outgoing connections (32768 and up on Linux). In that range two things go wrong while a
 * server is down: a client's own connection may occupy the port, and a client that keeps dialling the dead port is sooner or later
 * given that very port as its own and connects to itself.
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(12_000, 22_000);
    if (await canListen(port)) return port;
  }
  throw new Error("no free port among 100 tried between 12000 and 22000");
}

/** @param {number} port @returns {Promise<boolean>} */
function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
