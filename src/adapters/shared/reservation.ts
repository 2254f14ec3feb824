/** For adapters whose store keeps the line by itself. */
export { LINE_MAX, RESERVATION_MS, SHORT_MS } from "../../engine/line.js";
