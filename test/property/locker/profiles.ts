/** The kinds of worlds in which the production locker must keep its promises. */
import type { Profile } from "./world.js";

/** A new deployment that loses memories from its first moment on. */
export const FRESH: Profile = {
  guard: "auto",
  fromTheStart: true,
  durationMs: 700,
  paceMs: 25,
  tailMs: 300,
  troubles: ["forget", "forget", "forget", "delay", "delay", "delay", "replace", "replace", "lossy"],
};

/** Memories are lost. */
export const LOSS_PROFILES: Readonly<Record<string, Profile>> = {
  "strict, with any losses at any time": { guard: "strict" },
  "auto, with losses within its assumption": { guard: "auto" },
  "new deployments that lose memories from the start": FRESH,
};

/** No memory is lost, and clocks are as wrong as they like. */
export const CLOCK_PROFILES: Readonly<Record<string, Profile>> = {
  "no memory lost and wall clocks that jump": { losses: false, madClocks: true },
  "long delays": { tailMs: 500, losses: false },
  "locks that end at any moment": { losses: false, madClocks: true, madExpiry: true },
};
