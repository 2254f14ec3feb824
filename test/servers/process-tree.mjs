// A server is all its processes: PostgreSQL has one for each connection, which run on when only the first is stopped.
// @ts-check
import { readFileSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { signal } from "./guarded-process.mjs";

const settleTimeoutMs = 10_000;

/**
 * Stops them all; resolves when none of them executes anything any more.
 * @param {number} pid @returns {Promise<void>}
 */
export async function freezeTree(pid) {
  // A stopped process starts no further one, so from the top down none is missed.
  await everyLevel(pid, async (level) => {
    for (const each of level) signal(each, "SIGSTOP");
    await until(`server ${pid} stopped`, () => level.every(standsStill));
  });
}

/** @param {number} pid @returns {void} */
export function thawTree(pid) {
  // The first one last: it would take children that were stopped for children that hang.
  for (const each of treeOf(pid).toReversed()) signal(each, "SIGCONT");
}

/**
 * Kills them all, stopped or not; resolves when none is left.
 * @param {number} pid @returns {Promise<void>}
 */
export async function killTree(pid) {
  /** @type {Set<number>} */
  const others = new Set();
  // Seen before the first is gone: afterwards they are nobody's children, and they look for work to end by themselves.
  await everyLevel(pid, async (level) => {
    for (const each of level) {
      signal(each, "SIGSTOP");
      if (each !== pid) others.add(each);
    }
  });
  signal(pid, "SIGKILL");
  for (const each of others) signal(each, "SIGKILL");
  await until(`children of server ${pid} gone`, () => ![...others].some(lives));
}

/** @param {number} pid @param {(level: number[]) => Promise<void>} visit */
async function everyLevel(pid, visit) {
  for (let level = [pid]; level.length > 0; level = level.flatMap(childrenOf)) await visit(level);
}

/** @param {number} pid @returns {number[]} it and all its descendants, from the top down */
export function treeOf(pid) {
  return [pid, ...childrenOf(pid).flatMap(treeOf)];
}

/** @param {number} pid @returns {number[]} none where there is no /proc */
function childrenOf(pid) {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => stateOf(each)?.parent === pid);
}

/** @param {number} pid */
function standsStill(pid) {
  if (process.platform !== "linux") return true;
  const letter = stateOf(pid)?.letter;
  return letter === undefined || letter === "T" || letter === "t";
}

/** @param {number} pid @returns {boolean} false also when it is dead and nobody has looked yet */
export function lives(pid) {
  return stateOf(pid) !== undefined;
}

/** @param {number} pid @returns {{ letter: string, parent: number } | undefined} `undefined` when it is gone, or dead and not yet reaped */
function stateOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the process, in parentheses, may itself hold spaces.
    const [letter = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return letter === "Z" || letter === "X" ? undefined : { letter, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** @param {string} what @param {() => boolean} ask */
async function until(what, ask) {
  const deadlineMs = performance.now() + settleTimeoutMs;
  while (!ask()) {
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${settleTimeoutMs} ms`);
    await sleep(5);
  }
}
