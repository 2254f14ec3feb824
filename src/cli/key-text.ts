/** Keys on a terminal: anybody may have chosen them, and they must neither move the cursor nor look like two words. */

/** The key itself where it is plain, else as a JSON string in which nothing invisible is left. */
export function keyText(key: string): string {
  if (/^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(key) && !key.includes('"')) return key;
  return JSON.stringify(key).replace(
    /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu,
    (odd) => `\\u{${odd.codePointAt(0)?.toString(16)}}`,
  );
}
