/** Randomness that a seed decides, so that every run can be replayed. */

/** Uniform in [0, 1). */
export type Random = () => number;

const WARM_UP = 12;

/** A generator (sfc32) that `seed`, a whole number, decides. For simulations, never for owners of real locks. */
export function seededRandom(seed: number): Random {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;

  function next(): number {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  }

  for (let i = 0; i < WARM_UP; i++) next();
  return next;
}

/** 128 random bits as 32 hexadecimal digits. */
export function randomHex(random: Random): string {
  let text = "";
  for (let word = 0; word < 4; word++) {
    text += Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  }
  return text;
}
