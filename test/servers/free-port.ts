// For tests; benchmarks, which are plain JavaScript, take the same from the other file.
export { freePort } from "./free-port.mjs";
