/** A world's trace for people: a lane for each client and backend, as text or as a picture. */
import type { History } from "./history.js";
import type { TraceLine } from "./kernel.js";

const MARKS: { readonly [Kind in TraceLine["kind"]]: string } = {
  fault: "X",
  send: ">",
  execute: "*",
  reply: "<",
  lease: "#",
  write: "w",
  phase: "-",
};

/** One line of the full trace, always the same for the same world. */
export function traceText({ atMs, lane, text }: TraceLine): string {
  return `${atMs.toFixed(3).padStart(10)} ${lane.padEnd(8)} ${text}`;
}

/** Every lane in the order of clients, then backends. */
export function lanesOf(lines: readonly TraceLine[]): readonly string[] {
  const lanes = [...new Set(lines.map(({ lane }) => lane))].filter((lane) => lane !== "world");
  const rank = (lane: string): number =>
    (lane.startsWith("c") ? 0 : lane.startsWith("b") ? 2 : 1) * 1_000 + Number(lane.replace(/\D/g, ""));
  return lanes.sort((a, b) => rank(a) - rank(b));
}

/** The lines of these kinds, each with its mark in the column of its lane. */
export function timelineText(lines: readonly TraceLine[], kinds: ReadonlySet<TraceLine["kind"]>): string {
  const lanes = lanesOf(lines);
  const width = Math.max(3, ...lanes.map((lane) => lane.length)) + 1;
  const head = `${"ms".padStart(10)} ${lanes.map((lane) => lane.padEnd(width)).join("")}`;
  const rows = lines
    .filter(({ kind }) => kinds.has(kind))
    .map(({ atMs, lane, kind, text }) => {
      const columns = lanes.map((each) => (each === lane ? MARKS[kind] : "·").padEnd(width)).join("");
      return `${atMs.toFixed(3).padStart(10)} ${columns}${lane}: ${text}`;
    });
  return [head, ...rows].join("\n");
}

const LEFT = 90;
const RIGHT = 30;
const LANE = 34;
const TOP = 46;
const WIDTH = 1_300;
const TICKS = 10;
const COLORS = ["#1b7f5c", "#2b5fab", "#a2571b", "#7a3fa0", "#9c2f4f", "#4d6b1f"] as const;
const FAULT_COLOR = "#c22d2d";

/** The same as a picture in SVG: bars are leases while they are valid, crosses are faults, dots what was executed. */
export function timelineSvg(lines: readonly TraceLine[], history: History, title: string): string {
  const lanes = lanesOf(lines);
  const endMs = Math.max(1, ...lines.map(({ atMs }) => atMs));
  const height = TOP + LANE * lanes.length + 40;
  const x = (ms: number): number => LEFT + (Math.min(ms, endMs) / endMs) * (WIDTH - LEFT - RIGHT);
  const y = (lane: string): number => TOP + LANE * Math.max(0, lanes.indexOf(lane)) + LANE / 2;
  const parts: string[] = [];
  for (let i = 0; i <= TICKS; i++) {
    const ms = (endMs * i) / TICKS;
    parts.push(
      `<line x1="${x(ms).toFixed(1)}" y1="${TOP}" x2="${x(ms).toFixed(1)}" y2="${height - 34}" stroke="#e3e3e3"/>`,
    );
    parts.push(
      `<text x="${x(ms).toFixed(1)}" y="${height - 16}" text-anchor="middle" class="small">${ms.toFixed(0)} ms</text>`,
    );
  }
  lanes.forEach((lane) => {
    parts.push(`<line x1="${LEFT}" y1="${y(lane)}" x2="${WIDTH - RIGHT}" y2="${y(lane)}" stroke="#bbb"/>`);
    parts.push(`<text x="${LEFT - 8}" y="${y(lane) + 4}" text-anchor="end">${escaped(lane)}</text>`);
  });
  const keys = [...new Set(history.leases.map(({ key }) => key))];
  for (const lease of history.leases) {
    const untilMs = validUntilMs(lease, endMs);
    const color = COLORS[keys.indexOf(lease.key) % COLORS.length] ?? COLORS[0];
    const tip = `${lease.key}, token ${lease.token}, won at ${lease.wonAtMs.toFixed(1)} ms`;
    const width = Math.max(1.5, x(untilMs) - x(lease.wonAtMs));
    parts.push(
      `<rect x="${x(lease.wonAtMs).toFixed(1)}" y="${y(lease.client) - 9}" width="${width.toFixed(1)}" height="18" rx="3" fill="${color}" fill-opacity="0.55" stroke="${color}"><title>${escaped(tip)}</title></rect>`,
    );
  }
  for (const { atMs, lane, kind, text } of lines) {
    const at = x(atMs).toFixed(1);
    const tip = `<title>${escaped(`${atMs.toFixed(3)} ms ${text}`)}</title>`;
    if (kind === "fault") {
      const top = lane === "world" ? TOP - 8 : y(lane);
      parts.push(
        `<text x="${at}" y="${top + 5}" text-anchor="middle" style="fill:${FAULT_COLOR}" font-weight="bold">×${tip}</text>`,
      );
    } else if (kind === "execute")
      parts.push(`<circle cx="${at}" cy="${y(lane)}" r="1.6" fill="#555">${tip}</circle>`);
    else if (kind === "write") {
      const fill = text.endsWith("accepted") ? "#111" : "#fff";
      parts.push(
        `<circle cx="${at}" cy="${y(lane) + 12}" r="3" fill="${fill}" stroke="#111">${tip}</circle>`,
      );
    }
  }
  const legend =
    "bars: valid leases, by key · ×: faults · small dots: executed requests · circles: writes, empty ones refused";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">`,
    `<style>text{font:12px sans-serif;fill:#222}.small{font-size:10px;fill:#666}</style>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="10" y="18" font-weight="bold">${escaped(title)}</text>`,
    `<text x="10" y="34" class="small">${legend}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

/** The end of its last validity in true time, found by halving: clocks only run forward. */
function validUntilMs(lease: History["leases"][number], endMs: number): number {
  const end = lease.ends.at(-1)?.validUntil;
  if (end === undefined) return lease.wonAtMs;
  let low = lease.wonAtMs;
  let high = Math.min(lease.overAtMs, endMs);
  if (lease.lookAt(high) < end) return high;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (lease.lookAt(middle) < end) low = middle;
    else high = middle;
  }
  return high;
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
