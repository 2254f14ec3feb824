/** A process that can be paused as a whole, for the demonstration: its clocks go on, its timers do not. */
import type { System, Timer, TimerPurpose } from "../engine/time.js";

/** A system whose timers can be held back. */
export interface PausableSystem extends System {
  /** From now on no timer of it runs, as in a frozen virtual machine or a very long garbage collection. */
  pause(): void;
  /** Runs, late, what was due meanwhile. */
  wake(): void;
}

/** `system`, made pausable. */
export function pausable(system: System): PausableSystem {
  let paused = false;
  let due: readonly (() => void)[] = [];
  const forgotten = new WeakSet<object>();

  return {
    now: () => system.now(),
    look: () => system.look(),
    wallMs: () => system.wallMs(),
    propose: () => system.propose(),
    random: () => system.random(),
    newOwner: () => system.newOwner(),
    startTimer(purpose: TimerPurpose, delayMs: number, run: () => void): Timer {
      const timer: { inner?: Timer } = {};
      const fire = (): void => {
        if (paused) due = [...due, fire];
        else if (!forgotten.has(timer)) run();
      };
      timer.inner = system.startTimer(purpose, delayMs, fire);
      return timer;
    },
    cancelTimer(timer: Timer): void {
      forgotten.add(timer as object);
      system.cancelTimer((timer as { inner: Timer }).inner);
    },
    pause(): void {
      paused = true;
    },
    wake(): void {
      paused = false;
      const late = due;
      due = [];
      for (const fire of late) fire();
    },
  };
}
