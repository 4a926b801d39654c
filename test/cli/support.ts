import { runCommand } from '../../cli/program.ts'

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
