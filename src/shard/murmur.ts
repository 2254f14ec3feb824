/**
 * MurmurHash3_x86_32 (Austin Appleby, public domain) of a text in UTF-8. Chosen since libraries for it exist in every
 * language, so that others can place keys as we do. For one text it maps different seeds to different hashes: each of its
 * steps can be undone when the text is known.
 */
import { LIMITS } from "../options.js";

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** What a seed is mixed with: the words of one text, each mixed by itself. The same for all seeds. */
export interface MixedText {
  /** Whole words in front, and behind them what is left of one. */
  readonly words: Int32Array;
  /** How many of the words are whole. */
  readonly whole: number;
  /** Length of the text in bytes. */
  readonly bytes: number;
}

const encoder = new TextEncoder();
const buffer = new Uint8Array(LIMITS.keyBytesMax);
const view = new DataView(buffer.buffer);
const words = new Int32Array(LIMITS.keyBytesMax / 4 + 1);

/** The part of the hash that needs no seed. What it returns is good until the next call. The text has at most 512 bytes. */
export function mixText(text: string): MixedText {
  const { written: bytes } = encoder.encodeInto(text, buffer);
  const whole = bytes >>> 2;
  for (let i = 0; i < whole; i++) words[i] = mixWord(view.getInt32(i * 4, true));
  let rest = 0;
  for (let i = bytes - 1; i >= whole * 4; i--) rest = (rest << 8) | (buffer[i] ?? 0);
  words[whole] = mixWord(rest);
  return { words, whole, bytes };
}

/** The hash of a text under a seed: a whole number from 0 to 2³² − 1. */
export function hashMixed({ words, whole, bytes }: MixedText, seed: number): number {
  let h = seed;
  for (let i = 0; i < whole; i++) {
    h ^= words[i] ?? 0;
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= words[whole] ?? 0;
  h ^= bytes;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function mixWord(word: number): number {
  const k = Math.imul(word, C1);
  return Math.imul((k << 15) | (k >>> 17), C2);
}
