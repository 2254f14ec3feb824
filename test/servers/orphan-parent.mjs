// Starts a guarded server, says its pid and waits to be killed. Arguments: the server's folder, then the command.
// @ts-check
import { openSync } from "node:fs";
import { join } from "node:path";
import { startGuarded } from "./guarded-process.mjs";

const [folder = "", command = "", ...args] = process.argv.slice(2);
const output = openSync(join(folder, "server.log"), "a");
console.log(startGuarded({ command, args }, { folder, output }).pid);
setInterval(() => undefined, 60_000);
