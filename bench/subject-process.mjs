/**
 * One subject in a process of its own, as its users run it: told by its parent what to do, one thing after the other. In one process with
 * others a library also pays for what they leave to the garbage collector and to their timers.
 */
import { measure } from "./measure.mjs";
import { createSubject } from "./subjects.mjs";

/** @type {Awaited<ReturnType<typeof createSubject>> | undefined} */
let subject;

const CALLS = {
  /** Instead of the one before. */
  async open({ name, ports }) {
    await subject?.close();
    subject = await createSubject(name, ports);
  },
  measure: (plan) => measure(subject, plan),
};

process.on("message", async ({ call, argument }) => {
  try {
    process.send?.({ result: await CALLS[call](argument) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
