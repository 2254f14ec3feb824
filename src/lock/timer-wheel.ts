/**
 * What is due when, for very many things: a hierarchical timing wheel (Varghese and Lauck, "Hashed and hierarchical timing
 * wheels", 1987, scheme 7). To put something in or to take it out costs the same however many there are, and something that
 * is taken out is gone at once: most leases are released long before anything is due.
 *
 * A level has 64 slots; a slot of level 0 is one tick wide, of the next one 64, and so on. An entry lies on the lowest level whose
 * present turn it falls into, and moves down when the hand arrives at its slot, so that it is due at exactly its tick.
 */

/** Something that becomes due; in one wheel at most. */
export interface WheelEntry {
  /** The tick at which it is due: whole, from 0 up. The wheel's own, like its neighbours. */
  dueAt: number;
  /** Its neighbours in its slot; undefined while it is in no wheel. */
  before: WheelEntry | undefined;
  behind: WheelEntry | undefined;
}

/** Entries by the tick at which they are due. */
export interface TimerWheel<Entry extends WheelEntry> {
  /** How many are in it. A function: a getter in a literal would keep the wheel of a closed locker until all of the heap is collected. */
  size(): number;
  /** Puts it in, or moves it. What is due at the hand or before is handed out next. */
  insert(entry: Entry, dueAt: number): void;
  /** Takes it out; harmless when it is not in. */
  remove(entry: Entry): void;
  /** Turns the hand to `tick`, which is never behind it, and takes out what is due until then, in the order of ticks. */
  advance(tick: number): readonly Entry[];
  /**
   * The first tick at which it must be advanced; undefined when it is empty. Nothing is due earlier, and of what is far off
   * perhaps nothing yet.
   */
  next(): number | undefined;
  /** All that are in it. */
  entries(): readonly Entry[];
}

const SLOTS = 64;
const LEVELS = 5;
/** The width of a slot in ticks, by level. */
const WIDTHS: readonly number[] = Array.from({ length: LEVELS }, (_, level) => SLOTS ** level);
/** The whole turn of the last level: 12 days where a tick is a millisecond. */
const TURN = SLOTS ** LEVELS;
/** The slot behind all others, for what is due after this turn. */
const BEYOND = LEVELS * SLOTS;
const NONE = -1;

/** An empty wheel whose hand is at `tick`. */
export function createTimerWheel<Entry extends WheelEntry>(tick: number): TimerWheel<Entry> {
  /** Each a ring of entries, closed by one that stands for the slot itself; made when it is first used. */
  const slots = new Array<WheelEntry | undefined>(BEYOND + 1).fill(undefined);
  let hand = tick;
  let size = 0;

  function place(entry: WheelEntry): void {
    const ring = ringOf(slotOf(Math.max(entry.dueAt, hand)));
    const last = ring.before ?? ring;
    entry.before = last;
    entry.behind = ring;
    last.behind = entry;
    ring.before = entry;
  }

  function slotOf(due: number): number {
    for (let level = 0; level < LEVELS; level++) {
      const width = WIDTHS[level] ?? 1;
      const turn = width * SLOTS;
      if (Math.floor(due / turn) === Math.floor(hand / turn)) {
        return level * SLOTS + (Math.floor(due / width) % SLOTS);
      }
    }
    return BEYOND;
  }

  function ringOf(slot: number): WheelEntry {
    const known = slots[slot];
    if (known !== undefined) return known;
    const ring: WheelEntry = { dueAt: 0, before: undefined, behind: undefined };
    ring.before = ring;
    ring.behind = ring;
    slots[slot] = ring;
    return ring;
  }

  /** The first slot from the hand on that holds something: those of a lower level all come before those of a higher one. */
  function firstSlot(): number {
    if (size === 0) return NONE;
    for (let level = 0; level < LEVELS; level++) {
      const at = Math.floor(hand / (WIDTHS[level] ?? 1)) % SLOTS;
      // Of a higher level the slot under the hand was moved down when the hand came to it.
      for (let i = level === 0 ? at : at + 1; i < SLOTS; i++) {
        const slot = level * SLOTS + i;
        const ring = slots[slot];
        if (ring !== undefined && ring.behind !== ring) return slot;
      }
    }
    return BEYOND;
  }

  function startOf(slot: number): number {
    if (slot === BEYOND) return (Math.floor(hand / TURN) + 1) * TURN;
    const width = WIDTHS[Math.floor(slot / SLOTS)] ?? 1;
    const turn = width * SLOTS;
    return Math.floor(hand / turn) * turn + (slot % SLOTS) * width;
  }

  /** Empties a slot. */
  function take(slot: number): readonly Entry[] {
    const taken = listed(slots[slot]);
    for (const entry of taken) unlink(entry);
    return taken;
  }

  /** Those of one slot, in the order in which they came to it. */
  function listed(ring: WheelEntry | undefined): readonly Entry[] {
    const found: Entry[] = [];
    for (let each = ring?.behind; each !== undefined && each !== ring; each = each.behind) {
      found.push(each as Entry);
    }
    return found;
  }

  function remove(entry: Entry): void {
    if (entry.behind === undefined) return;
    unlink(entry);
    size--;
  }

  return {
    size: () => size,
    insert(entry: Entry, dueAt: number): void {
      remove(entry);
      entry.dueAt = dueAt;
      place(entry);
      size++;
    },
    remove,
    advance(to: number): readonly Entry[] {
      const due: Entry[] = [];
      for (let slot = firstSlot(); slot !== NONE; slot = firstSlot()) {
        const start = startOf(slot);
        if (start > to) break;
        hand = start;
        const taken = take(slot);
        if (slot < SLOTS) {
          size -= taken.length;
          for (const entry of taken) due.push(entry);
        } else for (const entry of taken) place(entry);
      }
      hand = Math.max(hand, to);
      return due;
    },
    next(): number | undefined {
      const slot = firstSlot();
      return slot === NONE ? undefined : startOf(slot);
    },
    entries: () => (size === 0 ? [] : slots.flatMap((ring) => listed(ring))),
  };
}

function unlink(entry: WheelEntry): void {
  const { before, behind } = entry;
  if (before !== undefined) before.behind = behind;
  if (behind !== undefined) behind.before = before;
  entry.before = undefined;
  entry.behind = undefined;
}
