/** Line plots as SVG, without any library: logarithmic axes, one colour and one mark for each subject. */

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = 190;
const TOP = 34;
const BOTTOM = 44;
const COLOURS = ["#888888", "#1b6ac9", "#d1495b", "#e09f3e", "#4f9d69", "#7b5ea7", "#2a9d8f"];

/**
 * @param {object} plot
 * @param {string} plot.title @param {string} plot.xLabel @param {string} plot.yLabel
 * @param {readonly { name: string, points: readonly (readonly [x: number, y: number])[] }[]} plot.series
 */
export function linePlot({ title, xLabel, yLabel, series }) {
  const shown = series.map((each) => ({ ...each, points: each.points.filter(([x, y]) => x > 0 && y > 0) }));
  const xs = shown.flatMap(({ points }) => points.map(([x]) => x));
  const ys = shown.flatMap(({ points }) => points.map(([, y]) => y));
  if (xs.length === 0) return "";
  const x = scale(Math.min(...xs), Math.max(...xs), [LEFT, WIDTH - RIGHT]);
  const y = scale(decade(Math.min(...ys), Math.floor), decade(Math.max(...ys), Math.ceil), [
    HEIGHT - BOTTOM,
    TOP,
  ]);
  const lines = shown.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ");
    const marks = points.length > 12 ? "" : points.map(([px, py]) => mark(x(px), y(py), colour)).join("");
    const legendY = TOP + 14 + i * 20;
    return (
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="${name === "quorum-lock" ? 3 : 1.8}"/>${marks}` +
      `<rect x="${WIDTH - RIGHT + 16}" y="${legendY - 8}" width="14" height="4" fill="${colour}"/>` +
      `<text x="${WIDTH - RIGHT + 36}" y="${legendY - 2}">${escaped(name)}</text>`
    );
  });
  const grid = ticks(Math.min(...ys), Math.max(...ys)).map(
    (tick) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="#dddddd"/>` +
      `<text x="${LEFT - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${figure(tick)}</text>`,
  );
  const distinct = [...new Set(xs)].sort((a, b) => a - b);
  const labels = (distinct.length <= 8 ? distinct : ticks(Math.min(...xs), Math.max(...xs))).map(
    (tick) =>
      `<text x="${x(tick).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${figure(tick)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11" fill="#222222">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
<text x="${LEFT}" y="18" font-size="13" font-weight="bold">${escaped(title)}</text>
${grid.join("\n")}
${labels.join("\n")}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escaped(xLabel)}</text>
<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${escaped(yLabel)}</text>
${lines.join("\n")}
</svg>
`;
}

function scale(from, to, [start, end]) {
  const [low, high] = [Math.log10(from), Math.log10(to)];
  const span = high - low || 1;
  return (value) => start + ((Math.log10(value) - low) / span) * (end - start);
}

function decade(value, round) {
  return 10 ** round(Math.log10(value));
}

function ticks(from, to) {
  const marks = [];
  for (let at = decade(from, Math.floor); at <= decade(to, Math.ceil); at *= 10) marks.push(at);
  return marks;
}

function mark(cx, cy, colour) {
  return `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="3" fill="${colour}"/>`;
}

function figure(value) {
  if (value >= 1_000_000) return `${value / 1_000_000}M`;
  if (value >= 1_000) return `${value / 1_000}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
