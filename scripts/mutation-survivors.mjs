/** What Stryker's JSON report says, in the few words that are kept and printed. */

/**
 * Counts per file, and every mutant that no test killed: where it is by function and text, since lines move.
 * @param {{ files: Record<string, { source: string, mutants: readonly object[] }> }} report
 */
export function summarize(report) {
  const files = {};
  const survivors = [];
  for (const [file, { source, mutants }] of Object.entries(report.files)) {
    const counts = { killed: 0, timeout: 0, survived: 0, noCoverage: 0 };
    for (const mutant of mutants) {
      const kind = KINDS[mutant.status];
      if (kind === undefined) throw new Error(`${file} has a mutant that is ${mutant.status}`);
      counts[kind]++;
      if (kind === "survived" || kind === "noCoverage") survivors.push(survivorOf(file, source, mutant));
    }
    files[file] = counts;
  }
  return { files, survivors };
}

const KINDS = { Killed: "killed", Timeout: "timeout", Survived: "survived", NoCoverage: "noCoverage" };

function survivorOf(file, source, { location: { start, end }, replacement }) {
  const lines = source.split("\n");
  const whole = lines.slice(start.line - 1, end.line);
  const head = lines[start.line - 1].slice(0, start.column - 1);
  const tail = lines[end.line - 1].slice(end.column - 1);
  return {
    file,
    in: enclosing(lines, start.line - 1),
    before: oneLine(whole.join("\n")),
    after: oneLine(head + replacement + tail),
  };
}

/** The name of the top-level declaration that a line belongs to. */
function enclosing(lines, index) {
  for (let i = index; i >= 0; i--) {
    const [, name] = /^(?:export )?(?:function|const|class) (\w+)/.exec(lines[i]) ?? [];
    if (name !== undefined) return name;
  }
  throw new Error(`line ${index + 1} is in no declaration`);
}

/** @param {string} text */
export function oneLine(text) {
  return text.replace(/\s+/g, " ").trim();
}

/** @param {{ file: string, in: string, before: string, after: string }} mutant */
export function nameOf({ file, in: name, before, after }) {
  return `${file}, ${name}: ${before} => ${after}`;
}

/**
 * Survivors that have no reason, and reasons for mutants that do not survive.
 * @param {readonly { file: string, in: string, before: string, after: string }[]} survivors
 * @param {readonly { file: string, in: string, before: string, after: string }[]} reasons
 */
export function compare(survivors, reasons) {
  const living = new Set(survivors.map(nameOf));
  const explained = new Set(reasons.map(nameOf));
  return {
    unexplained: [...living].filter((name) => !explained.has(name)),
    superfluous: [...explained].filter((name) => !living.has(name)),
  };
}
