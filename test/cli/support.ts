import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { runCommand } from '../../cli/program.ts'

export const BIN = join(import.meta.dirname, '..', '..', 'cli', 'millrace.js')

export interface Said {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface Surroundings {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a command line in this process, and gives what it printed. */
export async function millrace(args: readonly string[], { cwd, env = {} }: Surroundings): Promise<Said> {
  let stdout = ''
  let stderr = ''
  const exitCode = await runCommand(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env,
    cwd,
  })
  return { exitCode, stdout, stderr }
}

/** The processes that a test has started; they end with it. */
export class Processes {
  readonly #children: ChildProcess[] = []

  /** Starts `millrace` in a process of its own. Who asks for its standard output has to read it. */
  start(
    args: readonly string[],
    { cwd, env = {} }: Surroundings,
    stdout: 'ignore' | 'pipe' = 'ignore',
  ): ChildProcess {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', stdout, 'ignore'],
    })
    return this.add(child)
  }

  add<Child extends ChildProcess>(child: Child): Child {
    this.#children.push(child)
    return child
  }

  async kill(): Promise<void> {
    for (const child of this.#children.splice(0)) await killed(child)
  }
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
