// A network with faults between a client and a server of the same machine.
import { connect, createServer, type Socket } from "node:net";
import { freePort } from "./free-port.ts";

export type Direction = "to-server" | "to-client";

export interface TcpProxy {
  readonly port: number;
  /** Added to each direction, so a round trip takes twice as long. May be changed at any time; the order of bytes is kept. */
  delayMs: number;
  /** Connections from clients that neither side has finished. */
  readonly connections: number;
  /**
   * Half-open: nothing passes any more, and neither side is told, also of a connection that the other side has closed. What is sent
   * meanwhile is kept and delivered by {@link heal}, like the kernel's retransmissions after a partition; a side that *resets* its
   * connection takes back what it had sent. New connections are accepted and reach the server only after {@link heal}.
   */
  cut(direction?: Direction | "both"): void;
  /** Ends every cut. */
  heal(): void;
  /** Resets all connections, to both sides, losing what was under way. New ones are welcome. */
  drop(): void;
  /** {@link drop}, and the port is refused from now on. May be called again. */
  close(): Promise<void>;
}

/** Listens on a free loopback port. A server that refuses shows as a connection that is accepted and reset. */
export async function startTcpProxy(options: { targetPort: number; delayMs?: number }): Promise<TcpProxy> {
  const network: Network = { delayMs: options.delayMs ?? 0, cuts: new Set() };
  const links = new Set<Link>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const link = openLink(client, options.targetPort, { network, closed: () => links.delete(link) });
    links.add(link);
  });
  const port = await listen(server);
  server.unref();
  const drop = (): void => {
    for (const link of links) link.destroy();
  };
  let closing: Promise<void> | undefined;
  return {
    port,
    get delayMs() {
      return network.delayMs;
    },
    set delayMs(value) {
      network.delayMs = value;
    },
    get connections() {
      return links.size;
    },
    cut: (direction = "both") => {
      if (direction !== "to-client") network.cuts.add("to-server");
      if (direction !== "to-server") network.cuts.add("to-client");
    },
    heal: () => {
      network.cuts.clear();
      for (const link of links) link.pump();
    },
    drop,
    close: () => {
      closing ??= new Promise((resolve) => server.close(() => resolve()));
      drop();
      return closing;
    },
  };
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const error = await new Promise<Error | undefined>((resolve) => {
      server.once("error", resolve);
      server.listen(port, "127.0.0.1", () => {
        server.off("error", resolve);
        resolve(undefined);
      });
    });
    if (error === undefined) return port;
    if (attempt === 20) throw error;
  }
}

interface Network {
  delayMs: number;
  cuts: Set<Direction>;
}

interface Link {
  pump(): void;
  destroy(): void;
}

function openLink(
  client: Socket,
  targetPort: number,
  around: { network: Network; closed: () => void },
): Link {
  const { network } = around;
  let upstream: Socket | undefined;
  const toClient = openLane("to-client", network, (item) => deliver(item, client));
  const toServer = openLane("to-server", network, (item) => {
    if (item.kind === "open") {
      upstream = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      listenTo(upstream, toClient);
    } else if (upstream !== undefined) deliver(item, upstream);
  });
  const destroy = (): void => {
    toClient.discard();
    toServer.discard();
    client.resetAndDestroy();
    upstream?.resetAndDestroy();
    around.closed();
  };
  const listenTo = (source: Socket, lane: Lane): void => {
    source.on("data", (bytes) => lane.push({ kind: "bytes", bytes }));
    source.on("end", () => lane.push({ kind: "end" }));
    source.on("error", () => {
      if (network.cuts.has(lane.direction)) lane.discard();
      lane.push({ kind: "reset" });
    });
    source.on("close", () => {
      if (client.destroyed && (upstream === undefined || upstream.destroyed)) destroy();
    });
  };
  listenTo(client, toServer);
  toServer.push({ kind: "open" });
  return {
    pump: () => {
      toServer.pump();
      toClient.pump();
    },
    destroy,
  };
}

type Item = { kind: "open" } | { kind: "bytes"; bytes: Buffer } | { kind: "end" } | { kind: "reset" };

function deliver(item: Item, sink: Socket): void {
  if (sink.destroyed) return;
  switch (item.kind) {
    case "open":
      return;
    case "bytes":
      sink.write(item.bytes);
      return;
    case "end":
      sink.end();
      return;
    case "reset":
      sink.resetAndDestroy();
      return;
  }
}

interface Lane {
  readonly direction: Direction;
  push(item: Item): void;
  pump(): void;
  discard(): void;
}

/** One direction of one connection: what is under way in it, in order. */
function openLane(direction: Direction, network: Network, arrive: (item: Item) => void): Lane {
  let underWay: { dueMs: number; item: Item }[] = [];
  let timer: NodeJS.Timeout | undefined;
  const pump = (): void => {
    clearTimeout(timer);
    for (;;) {
      const [next] = underWay;
      if (next === undefined || network.cuts.has(direction)) return;
      const restMs = next.dueMs - performance.now();
      if (restMs > 0) {
        timer = setTimeout(pump, restMs);
        return;
      }
      underWay.shift();
      arrive(next.item);
    }
  };
  return {
    direction,
    push: (item) => {
      const dueMs = network.delayMs > 0 ? performance.now() + network.delayMs : 0;
      underWay.push({ dueMs, item });
      pump();
    },
    pump,
    discard: () => {
      clearTimeout(timer);
      underWay = [];
    },
  };
}
