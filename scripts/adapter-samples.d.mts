import type { Capabilities } from "../src/backend.js";
export declare function adapterNames(): string[];
export declare function adapterCapabilities(): Promise<
  { adapter: string; variant: string; capabilities: Capabilities }[]
>;
