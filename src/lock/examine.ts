/** A look at the servers behind the backends, for whoever is on call. */
import type { Capabilities, Examination, StatusReply } from "../backend.js";
import { elapsedMs } from "../engine/time.js";
import type { BackendErrorCode } from "../errors.js";
import { ask, askStatus, type Answer, type Inquiry } from "./ask.js";
import type { Link } from "./link.js";

/** How far a backend's wall clock is ahead of this process's; negative when it is behind. */
export interface ClockOffset {
  readonly offsetMs: number;
  /** The true offset lies within so much of it: half the round trip, and the grain of the clocks. */
  readonly uncertaintyMs: number;
}

/** What one backend says of itself. */
export interface BackendExamination {
  readonly backend: string;
  readonly kind: string;
  readonly capabilities: Capabilities;
  /**
   * Whether it votes, or why it does not: a mark of another configuration, no answer, … Undefined where nobody used it
   * yet: asking would write its mark, with the figures of this locker.
   */
  readonly status: Answer<StatusReply> | undefined;
  /** How long a question takes on a connection in use; undefined when it was not answered. */
  readonly latencyMs: number | undefined;
  readonly examination: Answer<Examination>;
  /** Undefined where the store shows no clock. */
  readonly clock: ClockOffset | undefined;
  /** The backends of the locker that turned out to be the same server as this one. */
  readonly sameServerAs: readonly string[];
}

/** What shows that nobody is there to be asked anything else. */
const ABSENT: ReadonlySet<BackendErrorCode> = new Set([
  "BACKEND_TIMEOUT",
  "BACKEND_NOT_CONNECTED",
  "BACKEND_SILENT",
]);

/** Both wall clocks show whole milliseconds. */
const GRAIN_MS = 1;

/** Looks at all backends. Changes nothing, not even where a mark is missing. Resolves within three deadlines, whoever does not answer. */
export async function examineAll(inquiry: Inquiry): Promise<readonly BackendExamination[]> {
  const { links } = inquiry.quorum;
  const found = await Promise.all(links.map((link) => examine(inquiry, link)));
  const servers = found.map(({ examination }, i) => links[i]?.identity?.serverId ?? serverIdOf(examination));
  return found.map((one, i) => ({
    ...one,
    sameServerAs: found
      .filter((_, j) => j !== i && isSame(servers[j], servers[i]))
      .map(({ backend }) => backend),
  }));
}

async function examine(inquiry: Inquiry, link: Link): Promise<Omit<BackendExamination, "sameServerAs">> {
  const { system } = inquiry.quorum;
  const { name: backend, kind, capabilities } = link.backend;
  const look = (): Promise<Answer<Examination>> => ask(inquiry, link, (session) => session.examine());
  // The first question may have to wait for the connection, so that its time says nothing.
  const first = await look();
  if (first.kind === "fault" && ABSENT.has(first.error.code)) {
    const absent = { status: first, examination: first, latencyMs: undefined, clock: undefined };
    return { backend, kind, capabilities, ...absent };
  }
  const sentAt = system.now();
  const sentWallMs = system.wallMs();
  const examination = await look();
  const tripMs = elapsedMs(sentAt, system.now());
  const unused = examination.kind === "reply" && examination.reply.unused === true;
  const statusAt = system.now();
  const status = unused ? undefined : await askStatus(inquiry, link);
  const statusMs = elapsedMs(statusAt, system.now());
  const wallMs = examination.kind === "reply" ? examination.reply.wallMs : undefined;
  return {
    backend,
    kind,
    capabilities,
    status,
    latencyMs: latencyOf(status, statusMs) ?? latencyOf(examination, tripMs),
    examination,
    clock: wallMs === undefined ? undefined : clockOffset(wallMs, { sentWallMs, tripMs }),
  };
}

/** The time of an answer that came; a refusal came, too. */
function latencyOf(answer: Answer<unknown> | undefined, tripMs: number): number | undefined {
  if (answer === undefined || (answer.kind === "fault" && ABSENT.has(answer.error.code))) return undefined;
  return tripMs;
}

/** The backend read its clock at some time of the trip. */
function clockOffset(
  wallMs: number,
  { sentWallMs, tripMs }: { readonly sentWallMs: number; readonly tripMs: number },
): ClockOffset {
  return { offsetMs: wallMs - (sentWallMs + tripMs / 2), uncertaintyMs: tripMs / 2 + GRAIN_MS };
}

function serverIdOf(examination: Answer<Examination>): string | undefined {
  return examination.kind === "reply" ? examination.reply.serverId : undefined;
}

function isSame(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && a === b;
}
