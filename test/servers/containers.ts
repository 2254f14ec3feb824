// Servers in containers, for machines that have Docker but are no Debian.
//
// The container shares the host's network and the server's folder, and runs as the calling user. So it behaves like a process of the host:
// same port after a restart (testcontainers' own restart() changes a mapped port), same files, and replicas, sentinels and clusters find
// each other on 127.0.0.1. Supported: all operations of the harness. Not supported: engines whose "host" is a virtual machine (Docker Desktop
// unless its host networking is switched on) and engines on another machine.
import { createWriteStream } from "node:fs";
import { GenericContainer } from "testcontainers";
import { recipes } from "../../scripts/servers/recipes.mjs";
import { runBounded } from "../../scripts/servers/run-bounded.mjs";
import { logOf, type Body, type Launch } from "./server-body.ts";

const dockerTimeoutMs = 20_000;

export async function startContainer(launch: Launch): Promise<Body> {
  const { server, dir } = launch;
  if (server.image === undefined) throw new Error(`${server.name} has no image`);
  const { program, imageWithoutShell } = recipes[server.name];
  const unstarted = new GenericContainer(server.image)
    .withNetworkMode("host")
    .withUser(`${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`)
    .withBindMounts([{ source: dir, target: dir, mode: "rw" }])
    .withWorkingDir(dir)
    .withEnvironment({ ...server.env, ...launch.env });
  // Not the image's own entry point: that one changes users and owners. The output goes where a process' output goes. No port is exposed,
  // so testcontainers waits for nothing here; readiness is the caller's question.
  const container = await (
    imageWithoutShell
      ? unstarted
          .withEntrypoint([program])
          .withCommand([...launch.args])
          .withLogConsumer((output) => output.pipe(createWriteStream(logOf(dir), { flags: "a" })))
      : unstarted
          .withEntrypoint(["/bin/sh", "-c", `exec "$0" "$@" >>"${logOf(dir)}" 2>&1`])
          .withCommand([program, ...launch.args])
  ).start();
  const id = container.getId();
  const running = async (): Promise<boolean> => (await state(id)) !== undefined;
  return {
    pid: (await state(id)) ?? 0,
    running,
    freeze: async () => void (await docker("pause", id)),
    thaw: async () => void (await docker("unpause", id).catch(() => "was not paused")),
    kill: async () => {
      // A paused container cannot be killed by every engine.
      await docker("unpause", id).catch(() => "was not paused");
      await docker("rm", "--force", "--volumes", id).catch(async (error: unknown) => {
        if (await running()) throw error;
      });
    },
  };
}

/** The pid on the engine's machine, or `undefined` when the container does not run or is gone. */
async function state(id: string): Promise<number | undefined> {
  const printed = await docker("inspect", "--format", "{{.State.Pid}}", id).catch(() => "0");
  const pid = Number(printed.trim());
  return pid > 0 ? pid : undefined;
}

function docker(...args: string[]): Promise<string> {
  return runBounded("docker", args, { timeoutMs: dockerTimeoutMs });
}
