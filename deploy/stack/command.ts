import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { StackError } from './errors.ts'

const TAIL_CHARACTERS = 2_000

export interface CommandOptions {
  readonly cwd?: string
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** After which it is ended and counts as failed. Default 15 minutes, for a first download. */
  readonly timeoutMs?: number
  /** Written to its standard input. */
  readonly input?: string
}

/**
 * Runs a program to its end.
 * @returns its standard output
 * @throws StackError BUILD_FAILED with the end of what it said
 */
export async function run(
  program: string,
  args: readonly string[],
  { cwd, env, timeoutMs = 15 * 60_000, input = '' }: CommandOptions = {},
): Promise<string> {
  const child = spawn(program, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  let [stdout, said] = ['', '']
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString()
    said = (said + text.toString()).slice(-TAIL_CHARACTERS)
  })
  child.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-TAIL_CHARACTERS)))
  child.stdin.on('error', () => null)
  child.stdin.end(input)
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (code === 0) return stdout
  throw new StackError(
    'BUILD_FAILED',
    `${program} ${args.join(' ')} ended with ${String(signal ?? code)}. The end of what it said:\n${said}`,
  )
}

/**
 * The path of a program on the PATH.
 * @param help how to get it, as the end of the error's message
 * @throws StackError MISSING_PROGRAM
 */
export function findProgram(name: string, help: string): string {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, name)
    if (directory !== '' && isExecutable(path)) return path
  }
  throw new StackError('MISSING_PROGRAM', `${name} is not on the PATH: ${help}`)
}

/**
 * A `java` of at least this major version: of JAVA_HOME, the PATH, or the places where systems install them.
 * @throws StackError MISSING_PROGRAM
 */
export async function findJava(minimum: number): Promise<string> {
  const found: string[] = []
  for (const path of javaCandidates()) {
    if (!isExecutable(path)) continue
    const version = await javaVersion(path)
    if (version >= minimum) return path
    found.push(`${path} is ${version}`)
  }
  const seen = found.length === 0 ? 'none was found' : found.join(', ')
  throw new StackError(
    'MISSING_PROGRAM',
    `Java ${minimum} or newer is needed (${seen}): install one (for example from adoptium.net, or ` +
      `\`apt-get install openjdk-${minimum}-jre-headless\`), or set JAVA_HOME to it.`,
  )
}

function javaCandidates(): string[] {
  const home = process.env['JAVA_HOME']
  const onPath = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '')
  return [
    ...(home === undefined || home === '' ? [] : [join(home, 'bin')]),
    ...onPath,
    ...listed('/usr/lib/jvm').map((name) => join('/usr/lib/jvm', name, 'bin')),
    ...listed('/Library/Java/JavaVirtualMachines').map((name) =>
      join('/Library/Java/JavaVirtualMachines', name, 'Contents', 'Home', 'bin'),
    ),
  ].map((directory) => join(directory, 'java'))
}

/** 0 where it cannot be told: `--version` came with Java 9. */
async function javaVersion(java: string): Promise<number> {
  const line = await run(java, ['--version'], { timeoutMs: 30_000 }).catch(() => '')
  return Number(/ (\d+)/.exec(line)?.[1] ?? 0)
}

function listed(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
