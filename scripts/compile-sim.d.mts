/** Compiles the simulation; returns the folder of the compiled `test/sim`. */
export function compileSim(): URL;
