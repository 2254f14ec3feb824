/** A backend that grants all and remembers nothing, so that what is measured is this library's own. */

/** @param {string} name @param {() => Promise<unknown>} [answer] what is waited for before each answer to a step of a lock */
export function forgetful(name, answer = async () => undefined) {
  const identity = { serverId: name, incarnation: `memory of ${name}` };
  const capabilities = {
    earlyByMs: 0,
    lateByMs: 0,
    expiryClock: "monotonic",
    durable: true,
    lists: false,
    atomicStep: "none",
    acquireRoundTrips: 1,
  };
  const after = async (reply) => {
    await answer();
    return reply;
  };
  const open = () => ({
    acquire: ({ proposal }) => after({ kind: "granted", fence: proposal, identity }),
    raise: () => after("raised"),
    extend: () => after({ kind: "extended", identity }),
    release: () => after("released"),
    status: async () => ({ kind: "in-service", identity }),
    join: async () => undefined,
    bootstrap: async () => undefined,
    close: async () => undefined,
  });
  return { kind: "forgetful", name, client: {}, capabilities, open };
}
