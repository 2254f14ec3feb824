/** A process of its own that passes bytes on with a delay in each direction: `node slow-proxy.mjs TARGET_PORT DELAY_MS`. */
import { connect, createServer } from "node:net";

const [targetPort, delayMs] = process.argv.slice(2).map(Number);

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ host: "127.0.0.1", port: targetPort, noDelay: true });
  pipe(client, upstream);
  pipe(upstream, client);
});

function pipe(from, to) {
  from.on("data", (bytes) => setTimeout(() => to.writable && to.write(bytes), delayMs));
  from.on("close", () => to.destroy());
  from.on("error", () => to.destroy());
}

server.listen(0, "127.0.0.1", () => process.send?.({ port: server.address().port }));
// Whoever started it is gone.
process.on("disconnect", () => process.exit(0));
