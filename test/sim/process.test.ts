import { describe, expect, it } from "vitest";
import { createKernel } from "./kernel.js";
import { createSimProcess } from "./process.js";

describe("a simulated process", () => {
  it("that goes round in circles in one instant is stopped", () => {
    const kernel = createKernel(1);
    const { system } = createSimProcess(kernel, "client-1", { ratePpm: 0, wallOffsetMs: 0 });
    const circle = (): void => {
      const from = system.now();
      while (system.now() === from);
    };
    expect(circle).toThrow("client-1 goes round in circles at 0 ms");
  });

  it("may look as often as it likes while time goes on", () => {
    const kernel = createKernel(1);
    const { system } = createSimProcess(kernel, "client-1", { ratePpm: 0, wallOffsetMs: 0 });
    let looks = 0;
    const look = (): void => {
      for (let i = 0; i < 60_000; i++, looks++) system.now();
      if (looks < 240_000) kernel.plan(kernel.nowMs + 1, look);
    };
    look();
    const stretch = kernel.until(10);
    while (stretch());
    expect(looks).toBe(240_000);
  });
});
