/**
 * `quorum-lock demo`: five backends in this process, two holders, and everything that goes wrong with locks. Every
 * figure that it prints is what the library answered.
 */
import { LeaseLostError, StaleTokenError, type VoteReport } from "../../errors.js";
import type { LockerEventName, LockerEvents } from "../../lock/events.js";
import type { Lease } from "../../lock/lease.js";
import type { Locker } from "../../lock/locker.js";
import { CommandLineError } from "../command-line-error.js";
import { BACKENDS, setStage, type Pace, type Stage } from "../demo-stage.js";
import { formatMs } from "../duration.js";
import { EXIT, listCodes, signalExitCode } from "../exit-codes.js";
import { parseArguments } from "../parse-arguments.js";
import { coloursOfStdout, print, wrapped } from "../terminal.js";

/** One screen of 80 x 24. */
const DEMO_HELP = `quorum-lock demo - watch a quorum lock at work, in ten seconds

  quorum-lock demo [--fast]

  --fast    the same without pauses for reading, in about a second

Five backends run inside this process; nothing is installed, opened or written.
Two of them are killed under a held lock, its holder is paused until its time is
over, somebody else gets the lock, and the first one's late write is refused.
All figures are the library's own replies.
Exit codes: ${listCodes([EXIT.ok, EXIT.demoFailed])}, 130 after Ctrl-C.`;

const SLOW: Pace = { ttlMs: 3_000, readMs: 900 };
const FAST: Pace = { ttlMs: 700, readMs: 0 };
const KEY = "stock:shoes";
/** No step takes longer when all is well. */
const STEP_MS_MAX = 10_000;

const { bold, dim, good, bad } = coloursOfStdout();

/** Runs it; resolves to the exit code. */
export async function demo(args: readonly string[]): Promise<number> {
  const given = parseArguments("demo", { fast: { type: "boolean" } }, args);
  if (given.has("help")) {
    print(DEMO_HELP);
    return EXIT.ok.code;
  }
  process.once("SIGINT", () => {
    print("\nStopped. Nothing is left behind: all of it lived in this process.");
    process.exit(signalExitCode("SIGINT"));
  });
  const stage = await setStage(given.has("fast") ? FAST : SLOW);
  try {
    await play(stage);
    return EXIT.ok.code;
  } finally {
    await Promise.all([stage.ada.close(), stage.ben.close()]);
  }
}

async function play(stage: Stage): Promise<void> {
  await introduce(stage);
  const adas = await grant(stage);
  await killTwo(stage);
  await pauseHolder(stage, adas);
  const bens = await handOver(stage, adas);
  await refuseStaleWrite(stage, { adas, bens });
  summarise({ adas, bens });
}

async function introduce(stage: Stage): Promise<void> {
  const { pace } = stage;
  await say(stage, "A quorum lock, in five steps", [
    `Five backends (${BACKENDS.join(", ")}) know nothing of each other. Each can be asked for the lock ${KEY}; ` +
      `whoever has the votes of three holds it, for ${formatMs(pace.ttlMs)} at a time. ` +
      "Ada and Ben both want to change the stock of shoes, one after the other.",
  ]);
}

async function grant(stage: Stage): Promise<Lease> {
  const acquired = next(stage.ada, "acquired");
  const lease = await stage.ada.acquire(KEY, { keepAlive: true });
  const { votes } = await acquired;
  stage.stock.write(lease, "Ada: 41 pairs");
  await say(stage, "1. Ada asks all five and gets the lock", [
    votesText(votes),
    `Her token is ${bold(String(lease.token))}: a number that only ever grows and goes with every write.`,
    `She may use the lock for another ${left(lease)}, and has it extended before that is over.`,
    `She writes "Ada: 41 pairs"; the stock takes it, since it has seen no higher token.`,
  ]);
  return lease;
}

async function killTwo(stage: Stage): Promise<void> {
  const { backends } = stage;
  // Told to wait before the kill, so that the extension that is shown is one without the two.
  for (const backend of backends.slice(0, 2)) backend.kill();
  const extended = await next(
    stage.ada,
    "extended",
    ({ votes }) => !granted(votes).includes(BACKENDS[0] ?? ""),
  );
  await say(
    stage,
    `2. Two of the five backends are ${bad("killed")}: ${BACKENDS.slice(0, 2).join(" and ")}`,
    [
      "Ada's lock is extended all the same:",
      votesText(extended.votes),
      `Three of five are still a majority. She has another ${formatMs(extended.remainingMs)}, and the same token.`,
    ],
  );
}

async function pauseHolder(stage: Stage, adas: Lease): Promise<void> {
  await next(stage.ada, "extended");
  stage.adasProcess.pause();
  const leftMs = adas.remainingMs;
  const refused = await stage.ben.tryAcquire(KEY);
  if (refused.acquired) throw unexpected("Ben got the lock while Ada still held it");
  const heldMs = Math.max(...refused.votes.map(({ remainingMs = 0 }) => remainingMs));
  await say(stage, `3. Ada's process is ${bad("paused")}`, [
    "As in a frozen virtual machine (here its timers are held back; its clock goes on). " +
      `Nothing extends the lock now, which is good for another ${formatMs(leftMs)}.`,
    "Ben asks for it and is refused:",
    votesText(refused.votes),
    `It is held for another ${formatMs(heldMs)}. He waits. Nobody can ask Ada; her time just runs out.`,
  ]);
}

async function handOver(stage: Stage, adas: Lease): Promise<Lease> {
  const acquired = next(stage.ben, "acquired");
  const lease = await stage.ben.acquire(KEY, { waitMs: STEP_MS_MAX, keepAlive: true });
  const { votes, waitedMs, attempts } = await acquired;
  if (lease.token <= adas.token)
    throw unexpected(`Ben's token ${lease.token} is not above Ada's ${adas.token}`);
  stage.stock.write(lease, "Ben: 40 pairs");
  await say(stage, `4. Ben gets the lock from the three that are left, after ${formatMs(waitedMs)}`, [
    votesText(votes),
    `It took him ${attempts} attempts. His token is ${bold(String(lease.token))}, larger than Ada's. ` +
      'He writes "Ben: 40 pairs"; the stock takes it, and from now on nothing below his token.',
  ]);
  return lease;
}

async function refuseStaleWrite(stage: Stage, leases: Leases): Promise<void> {
  const { adas, bens } = leases;
  stage.adasProcess.wake();
  // She does not know that she slept, and does not look at the clock first.
  const refusal = thrownBy(() => stage.stock.write(adas, "Ada: 99 pairs"));
  if (!(refusal instanceof StaleTokenError)) throw unexpected("Ada's late write was not refused");
  const loss = thrownBy(() => adas.assertHeld());
  if (!(loss instanceof LeaseLostError)) throw unexpected("Ada's lease did not notice that it was over");
  if (bens.remainingMs <= 0) throw unexpected("Ben lost the lock");
  await say(stage, `5. Ada wakes up in the middle of her work and writes: ${good("refused")}`, [
    `The stock says: "${refusal.message}".`,
    `Had she looked first, her lease would have said: "${loss.message}".`,
    `The stock still reads "${stage.stock.read()}". Nothing was lost.`,
  ]);
}

function summarise({ adas, bens }: Leases): void {
  const saw =
    "The lock outlived two dead backends of five and was passed on when its holder fell silent, and the token " +
    `(${adas.token}, then ${bens.token}) stopped the write that came too late.`;
  print(
    [
      bold("What you saw"),
      wrapped(saw, "  "),
      bold("Next"),
      "  quorum-lock run --help   the same for any command, over Redis servers",
      "  README.md                the library in one screen",
      "  docs/guarantees.md       what is promised, what it needs, what is not promised",
      "  docs/fencing.md          how to check tokens where you write",
    ].join("\n"),
  );
}

interface Leases {
  readonly adas: Lease;
  readonly bens: Lease;
}

/** Prints a step and leaves time to read it. */
async function say({ pace }: Stage, title: string, lines: readonly string[]): Promise<void> {
  print([bold(title), ...lines.map((line) => wrapped(line, "  ")), ""].join("\n"));
  await new Promise((resolve) => setTimeout(resolve, pace.readMs));
}

function votesText(votes: readonly VoteReport[]): string {
  const texts = votes.map((vote) => {
    const text = `${vote.backend} ${voteText(vote)}`;
    return vote.vote === "granted" ? good(text) : dim(text);
  });
  return `Votes: ${texts.join(", ")}.`;
}

function voteText({ vote, code }: VoteReport): string {
  switch (vote) {
    case "granted":
      return "yes";
    case "fault":
      return code === "BACKEND_NOT_CONNECTED" || code === "BACKEND_DISCONNECTED"
        ? "dead"
        : (code ?? "failed");
    case "no-answer":
      return "not waited for";
    case "held":
    case "denied":
    case "quarantined":
    case "confirmed":
      return vote;
  }
}

function granted(votes: readonly VoteReport[]): readonly string[] {
  return votes.filter(({ vote }) => vote === "granted").map(({ backend }) => backend);
}

function left(lease: Lease): string {
  return formatMs(lease.remainingMs);
}

/** The next event of that name that is wanted; bounded. */
function next<Name extends LockerEventName>(
  locker: Locker,
  name: Name,
  isWanted: (event: LockerEvents[Name]) => boolean = () => true,
): Promise<LockerEvents[Name]> {
  return new Promise((resolve, reject) => {
    const stop = locker.on(name, (event) => {
      if (!isWanted(event)) return;
      clearTimeout(timer);
      stop();
      resolve(event);
    });
    const timer = setTimeout(() => {
      stop();
      reject(unexpected(`nothing was ${name} within ${formatMs(STEP_MS_MAX)}`));
    }, STEP_MS_MAX);
  });
}

function thrownBy(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

function unexpected(what: string): CommandLineError {
  return new CommandLineError(
    EXIT.demoFailed,
    `the demonstration did not go as told: ${what}; please report it`,
  );
}
