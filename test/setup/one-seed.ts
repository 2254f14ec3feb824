/** One seed for fast-check in every test, for runs whose result must be the same the next time. */
import * as fc from "fast-check";

fc.configureGlobal({ seed: 1, endOnFailure: true });
