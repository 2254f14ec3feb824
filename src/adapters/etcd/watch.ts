/** A watch on one key of etcd: a stream of its own, which is given up when it is silent though it was asked. */
import { keepWatching } from "../shared/keep-watching.js";
import type { EtcdWatchClient, EtcdWatchStream } from "./client.js";

/** What is told of a key. Never within the call that begins the watch. */
export interface WatchedKey {
  readonly client: EtcdWatchClient;
  readonly key: Buffer;
  /** How long the server may take to answer. */
  readonly timeoutMs: number;
  /** The watch stands: whatever changes from now on is told. */
  readonly began: () => void;
  /** Its value; undefined when it was deleted. */
  readonly changed: (value: Uint8Array | undefined) => void;
}

/** How often a stream that says nothing is asked whether it is still there. */
const ASK_MS = 5_000;

/** Goes on over broken connections. Returns how to stop. */
export function watchKey({ client, key, timeoutMs, began, changed }: WatchedKey): () => void {
  return keepWatching(({ well, gone }) => {
    let stream: EtcdWatchStream | undefined;
    let isEnded = false;
    let timer = setTimeout(gone, timeoutMs);

    function alive(): void {
      clearTimeout(timer);
      if (isEnded) return;
      timer = setTimeout(() => {
        stream?.write({ progress_request: {} });
        timer = setTimeout(gone, timeoutMs);
        timer.unref();
      }, ASK_MS);
      timer.unref();
    }

    client.watch().then((opened) => {
      // Without a listener an error of a stream ends the process.
      opened.on("error", gone);
      opened.on("end", gone);
      opened.on("data", ({ created, canceled, events }) => {
        if (isEnded) return;
        alive();
        if (canceled) {
          gone();
          return;
        }
        if (created) {
          well();
          began();
        }
        const last = events.at(-1);
        if (last !== undefined) changed(last.type === "Delete" ? undefined : last.kv.value);
      });
      stream = opened;
      if (isEnded) end(opened);
      else opened.write({ create_request: { key } });
    }, gone);

    return () => {
      isEnded = true;
      clearTimeout(timer);
      if (stream !== undefined) end(stream);
    };
  });
}

/** Ended before it is cancelled, since etcd3 takes the error of a stream that still writes for one of its host. */
function end(stream: EtcdWatchStream): void {
  stream.end();
  stream.cancel();
}
