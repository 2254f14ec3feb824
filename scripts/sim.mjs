/** `npm run sim`: compiles the simulation and runs it; `npm run sim -- --help` says how. */
import { compileSim } from "./compile-sim.mjs";

// Signals end the process by its exit handlers, so that its folder is removed.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));
const { main } = await import(new URL("main.js", compileSim()).href);
process.exit(await main(process.argv.slice(2)));
