/**
 * The survey of a key once more, as stupidly as possible: what cannot be told is found by trying everything that the
 * backends that did not tell may have, and times by letting it pass.
 */
import type { KeySighting, KeyState, LockRole } from "../../../src/engine/survey.js";

const STRANGER = "(nobody seen)";

/** What each backend may have: what it showed, or anything where it is doubtful. */
function worlds(seen: readonly KeySighting[]): readonly (readonly (string | undefined)[])[] {
  const owners = [...new Set(seen.flatMap((each) => (each.kind === "locked" ? [each.owner] : []))), STRANGER];
  let found: (string | undefined)[][] = [[]];
  for (const each of seen) {
    const shown = each.kind === "locked" ? each.owner : undefined;
    const may = each.kind === "fault" || each.doubtful ? [shown, ...owners] : [shown];
    found = found.flatMap((world) => may.map((owner) => [...world, owner]));
  }
  return found;
}

/** Who has a quorum in a world. */
function ruler(world: readonly (string | undefined)[], quorum: number): string | undefined {
  return world.find(
    (owner) => owner !== undefined && world.filter((other) => other === owner).length >= quorum,
  );
}

function shown(seen: readonly KeySighting[]): readonly (string | undefined)[] {
  return seen.map((each) => (each.kind === "locked" ? each.owner : undefined));
}

export function twinState(seen: readonly KeySighting[], quorum: number): KeyState {
  if (ruler(shown(seen), quorum) !== undefined) return "held";
  if (worlds(seen).some((world) => ruler(world, quorum) !== undefined)) return "unknown";
  const owners = new Set(shown(seen).filter((owner) => owner !== undefined));
  return owners.size === 0 ? "free" : owners.size === 1 ? "orphan" : "contended";
}

export function twinRoles(seen: readonly KeySighting[], quorum: number): readonly (LockRole | undefined)[] {
  const state = twinState(seen, quorum);
  const holder = ruler(shown(seen), quorum);
  return shown(seen).map((owner) => {
    if (owner === undefined) return undefined;
    if (state === "orphan") return "orphan";
    if (state === "contended") return "rival";
    if (state === "held") return owner === holder ? "holder" : "ghost";
    return worlds(seen).some((world) => ruler(world, quorum) === owner) ? "possible-holder" : "ghost";
  });
}

/** Lets time pass in whole milliseconds, and says when the holder has lost its quorum, or the last lock has ended. */
export function twinRemainingMs(seen: readonly KeySighting[], quorum: number): number | undefined {
  const holder = ruler(shown(seen), quorum);
  const locks = seen.flatMap((each) => (each.kind === "locked" ? [each] : []));
  if (locks.length === 0) return undefined;
  for (let ms = 0; ; ms++) {
    const live = locks.filter(({ remainingMs, owner }) => remainingMs > ms && (holder ?? owner) === owner);
    if (live.length < (holder === undefined ? 1 : quorum)) return ms;
  }
}

/** Every number tried: one that some lock of the holder has as its fence and q of its backends as their counter. */
export function twinToken(seen: readonly KeySighting[], quorum: number): bigint | undefined {
  const holder = ruler(shown(seen), quorum);
  for (let token = 0n; token < 40n; token++) {
    let remember = 0;
    let granted = 0;
    for (const each of seen) {
      if (each.kind !== "locked" || each.owner !== holder) continue;
      if (each.counter === token) remember++;
      if (each.fence === token) granted++;
    }
    if (remember >= quorum && granted > 0) return token;
  }
  return undefined;
}
