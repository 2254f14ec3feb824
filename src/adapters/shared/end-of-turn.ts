/** When what one turn of the event loop asks for is complete. */

const { nextTick } = process;

/**
 * Calls back behind everything that this turn still does, promises included, and ahead of the next. Taken when the module is
 * loaded: tests of users replace timers, and `nextTick` among them.
 */
export function atEndOfTurn(callback: () => void): void {
  nextTick(callback);
}
