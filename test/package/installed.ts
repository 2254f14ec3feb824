/** The package as its users get it: packed, unpacked into a project of its own, clients beside it on demand. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

export interface Installed {
  readonly dir: string;
  write(file: string, text: string): Promise<void>;
  /** Runs a program in the project; rejects when it fails, with what it printed. */
  run(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string>;
  tsc(args: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

/** A project with the packed package, and with the named packages of this repository linked beside it. */
export async function install(beside: readonly string[]): Promise<Installed> {
  const dir = await mkdtemp(join(tmpdir(), "quorum-lock-package-"));
  const home = join(dir, "node_modules", "quorum-lock");
  await mkdir(home, { recursive: true });
  const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", dir], {
    cwd: root,
  });
  const [{ filename }] = JSON.parse(packed.stdout) as [{ filename: string }];
  await run("tar", ["-xzf", join(dir, filename), "--strip-components=1", "-C", home]);
  for (const name of beside) {
    const link = join(dir, "node_modules", name);
    await mkdir(join(link, ".."), { recursive: true });
    await symlink(join(root, "node_modules", name), link);
  }
  const inside: Installed = {
    dir,
    write: (file, text) => writeFile(join(dir, file), text),
    async run(command, args, env = {}) {
      try {
        const { stdout } = await run(command, args, {
          cwd: dir,
          env: { ...process.env, ...env },
          timeout: 25_000,
        });
        return stdout;
      } catch (error) {
        const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string };
        throw new Error(`${message}\n${stdout}\n${stderr}`, { cause: error });
      }
    },
    tsc: (args) => inside.run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...args]),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
  return inside;
}
