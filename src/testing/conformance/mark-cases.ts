/** Conformance: clients that are configured otherwise are refused, since their quorums need not share a backend. */
import type { Deployment } from "../../backend.js";
import { checkRejects, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, stageOn, stageWith } from "./stage.js";

type Other = (deployment: Deployment) => Partial<Deployment>;

const OTHERS: readonly (readonly [what: string, other: Other])[] = [
  ["number of backends", ({ backends }) => ({ backends: backends + 1 })],
  ["quorum", ({ quorum }) => ({ quorum: quorum + 1 })],
  ["longer maxTtlMs", ({ maxTtlMs }) => ({ maxTtlMs: maxTtlMs + 1 })],
  ["shorter maxTtlMs", ({ maxTtlMs }) => ({ maxTtlMs: maxTtlMs - 1 })],
];

/** The mark and the configuration in it. */
export const markCases: readonly ConformanceCase[] = [
  ...OTHERS.map(([what, other]): ConformanceCase => ({
    name: `a client with another ${what} is refused, and nothing is granted`,
    async run(context) {
      const stage = await stageOn(context);
      const foreign = {
        ...stageWith(context, await context.open(other(context.deployment))),
        key: stage.key,
      };
      const { session, key } = foreign;
      const request = { key, owner: BOB, ttlMs: stage.shortMs };
      const proposal = context.proposal();
      await checkRejects("an acquire", "BACKEND_MARK_MISMATCH", session.acquire({ ...request, proposal }));
      const heal = session.extend({ ...request, token: proposal, mayHeal: true });
      await checkRejects("an extend that may heal", "BACKEND_MARK_MISMATCH", heal);
      await checkRejects("a request for the status", "BACKEND_MARK_MISMATCH", session.status());
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
      await stage.grant(ALICE);
    },
  })),
  {
    name: "what is not in the mark may differ: skew, quarantine, retention and restart guard",
    async run(context) {
      const { quarantineMs, tokenRetentionMs, clockSkewMs } = context.deployment;
      const stage = await stageOn(context);
      await stage.grant(ALICE);
      const other = await context.open({
        quarantineMs: quarantineMs + 1,
        tokenRetentionMs: tokenRetentionMs + 1,
        clockSkewMs: clockSkewMs + 1,
        restartGuard: "strict",
      });
      const reply = await other.acquire({
        key: stage.key,
        owner: BOB,
        ttlMs: stage.longMs,
        proposal: context.proposal(),
      });
      checkSame("the reply", { is: reply.kind, should: "held" });
    },
  },
  {
    name: "the first configuration that a new memory sees is the one that counts",
    needs: ["restart-lost"],
    async run(context) {
      await context.restart?.lost?.();
      const stage = await stageOn(context);
      const foreign = await context.open({ quorum: context.deployment.quorum + 1 });
      await checkRejects("a request for the status", "BACKEND_MARK_MISMATCH", foreign.status());
      checkSame("the status for the first", {
        is: (await stage.session.status()).kind,
        should: "in-service",
      });
    },
  },
];
