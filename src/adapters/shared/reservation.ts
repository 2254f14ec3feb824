/**
 * For how long a key is kept for the waiter whose turn it is, in milliseconds: enough for a call and an acquire between
 * distant places. A waiter that died costs those behind it this much.
 */
export const RESERVATION_MS = 100;
