/**
 * The processes of one command: its process group, and on Linux its whole session, since `timeout`, `set -m` and others
 * give their children groups of their own within it. What calls `setsid` itself (a daemon) has left and is not found.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** The group that a process leads, which was started in a session of its own. */
export interface ProcessGroup {
  /** The process id of the leader; id of the group and of the session too. */
  readonly id: number;
  /** When the leader was started, in clock ticks of this boot; tells it from a later process with its number. */
  readonly startedAt: string | undefined;
}

interface ProcessState {
  readonly pid: number;
  readonly alive: boolean;
  readonly group: number;
  readonly session: number;
  readonly startedAt: string;
}

const HAS_PROC = existsSync("/proc/self/stat");

/** The group of a process that was just started and not yet waited for. */
export function groupOf(leader: number): ProcessGroup {
  try {
    return { id: leader, startedAt: HAS_PROC ? stateOf(leader)?.startedAt : undefined };
  } catch {
    return { id: leader, startedAt: undefined };
  }
}

/**
 * The groups in which processes of the command are alive; none means that all of it is gone. Zombies are gone: whoever
 * has to wait for them may itself be stopped.
 */
export function livingGroups(group: ProcessGroup): readonly number[] {
  const found = HAS_PROC ? search(group) : undefined;
  if (found === "strangers") return [];
  if (found !== undefined && found.length > 0) return found;
  const answer = probe(-group.id);
  // Nothing was found, but what is another user's may be hidden; it cannot be ended either, and that must show.
  return answer === "another user's" || (found === undefined && answer === "there") ? [group.id] : [];
}

/** Undefined when the machine is in such a state that nobody can tell. */
function search(group: ProcessGroup): readonly number[] | "strangers" | undefined {
  const groups = new Set<number>();
  try {
    for (const entry of readdirSync("/proc")) {
      const pid = Number(entry);
      const state = Number.isInteger(pid) ? stateOf(pid) : undefined;
      if (state === undefined) continue;
      // The number is free for strangers once nothing of the command is left, and a stranger must not be hit.
      if (pid === group.id && isStranger(group, state)) return "strangers";
      if (state.alive && (state.session === group.id || state.group === group.id)) groups.add(state.group);
    }
  } catch {
    // No more files may be opened, for instance.
    return undefined;
  }
  return [...groups];
}

function isStranger(group: ProcessGroup, leader: ProcessState): boolean {
  return group.startedAt !== undefined && leader.startedAt !== group.startedAt;
}

/** Signals every process of the command. */
export function signalAll(group: ProcessGroup, signal: NodeJS.Signals): void {
  // First what needs no search, which takes its time where thousands of processes are.
  const sent = isLed(group);
  if (sent) send(-group.id, signal);
  for (const each of livingGroups(group)) {
    if (!sent || each !== group.id) send(-each, signal);
  }
}

/** Signals the command's own group, as a terminal does with the group in its foreground. */
export function signalGroup(group: ProcessGroup, signal: NodeJS.Signals): void {
  if (livingGroups(group).includes(group.id)) send(-group.id, signal);
}

/** Asks all of the command to end. What is stopped must run to hear it. */
export function terminateAll(group: ProcessGroup): void {
  signalAll(group, "SIGTERM");
  signalAll(group, "SIGCONT");
}

/** Sends a signal; that there is nobody to take it is no error. */
export function send(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch {
    // Gone meanwhile, or another user's (sudo), whom we cannot end; `livingGroups` goes on to show that one.
  }
}

/** Whether its leader is known to be there still, be it as a zombie. */
function isLed(group: ProcessGroup): boolean {
  if (!HAS_PROC || group.startedAt === undefined) return false;
  try {
    const leader = stateOf(group.id);
    return leader !== undefined && !isStranger(group, leader);
  } catch {
    return false;
  }
}

function probe(target: number): "there" | "another user's" | "gone" {
  try {
    process.kill(target, 0);
    return "there";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "another user's" : "gone";
  }
}

/** From /proc/PID/stat; see proc(5). */
function stateOf(pid: number): ProcessState | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    // Gone, or hidden from us. Anything else says nothing about the process.
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? ""))
      return undefined;
    throw error;
  }
  // The second field, the name in parentheses, may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, , group, session] = fields;
  const [threads, , startedAt = ""] = fields.slice(17);
  // A leader whose main thread has ended shows as a zombie while its other threads go on.
  const alive = (state !== "Z" && state !== "X") || Number(threads) > 1;
  return { pid, alive, group: Number(group), session: Number(session), startedAt };
}
