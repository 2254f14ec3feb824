/** An object store with conditional writes, as small as one can be, over HTTP on a free port of loopback. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface TinyObjectStore {
  readonly url: string;
  /** As after a disk was lost. */
  wipe(): void;
  close(): Promise<void>;
}

export async function startTinyObjectStore(): Promise<TinyObjectStore> {
  const objects = new Map<string, { readonly text: string; readonly etag: string }>();
  let written = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const path = request.url ?? "";
      const found = objects.get(path);
      response.setHeader("Date", new Date().toUTCString());
      if (request.method === "PUT") {
        const absent = request.headers["if-none-match"] === "*";
        const fits = absent ? found === undefined : found?.etag === request.headers["if-match"];
        if (fits) objects.set(path, { text: Buffer.concat(chunks).toString(), etag: `"${++written}"` });
        response.writeHead(fits ? 200 : 412).end();
      } else if (found === undefined) response.writeHead(404).end();
      else response.writeHead(200, { ETag: found.etag }).end(found.text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${Math.random().toString(36).slice(2)}`,
    wipe: () => objects.clear(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
