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
  /** Whether it votes, or why it does not: a mark of another configuration, no answer, … */
  readonly status: Answer<StatusReply>;
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

/** Looks at all backends. Changes nothing. Resolves within three deadlines, whoever does not answer. */
export async function examineAll(inquiry: Inquiry): Promise<readonly BackendExamination[]> {
  const { links } = inquiry.quorum;
  const found = await Promise.all(links.map((link) => examine(inquiry, link)));
  return found.map((one, i) => ({ ...one, sameServerAs: twinsOf(links, i) }));
}

async function examine(inquiry: Inquiry, link: Link): Promise<Omit<BackendExamination, "sameServerAs">> {
  const { system } = inquiry.quorum;
  const { name: backend, kind, capabilities } = link.backend;
  // The first question may have to wait for the connection, so that its time says nothing.
  let status = await askStatus(inquiry, link);
  if (status.kind === "fault" && ABSENT.has(status.error.code)) {
    return {
      backend,
      kind,
      capabilities,
      status,
      latencyMs: undefined,
      examination: status,
      clock: undefined,
    };
  }
  const statusAt = system.now();
  status = await askStatus(inquiry, link);
  const latencyMs = elapsedMs(statusAt, system.now());
  const sentAt = system.now();
  const sentWallMs = system.wallMs();
  const examination = await ask(inquiry, link, (session) => session.examine());
  const tripMs = elapsedMs(sentAt, system.now());
  const wallMs = examination.kind === "reply" ? examination.reply.wallMs : undefined;
  return {
    backend,
    kind,
    capabilities,
    status,
    latencyMs: status.kind === "fault" && ABSENT.has(status.error.code) ? undefined : latencyMs,
    examination,
    clock: wallMs === undefined ? undefined : clockOffset(wallMs, { sentWallMs, tripMs }),
  };
}

/** The backend read its clock at some time of the trip. */
function clockOffset(
  wallMs: number,
  { sentWallMs, tripMs }: { readonly sentWallMs: number; readonly tripMs: number },
): ClockOffset {
  return { offsetMs: wallMs - (sentWallMs + tripMs / 2), uncertaintyMs: tripMs / 2 + GRAIN_MS };
}

function twinsOf(links: readonly Link[], index: number): readonly string[] {
  const serverId = links[index]?.identity?.serverId;
  if (serverId === undefined) return [];
  return links
    .filter((other) => other.index !== index && other.identity?.serverId === serverId)
    .map(({ backend }) => backend.name);
}
