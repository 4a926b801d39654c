import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'

/** Of /proc's times; Linux has had 100 for user space since long. */
const TICKS_PER_SECOND = 100

/** CPU time of a process so far, all its threads, seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name, in parentheses, may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Memory of its own, file pages left out, MiB. */
export function anonymousMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}

/** Keeps a process, its threads included, to one core. */
export function pin(pid: number, core: number): void {
  spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' })
}

export interface ProcessSpec {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly core: number
  /** Its output goes there. */
  readonly logFile: string
}

/** A program that is measured from outside. */
export class MeasuredProcess {
  readonly #child: ChildProcess
  #exited = false

  private constructor(child: ChildProcess) {
    this.#child = child
    child.once('exit', () => (this.#exited = true))
  }

  static start({ program, args, env, core, logFile }: ProcessSpec): MeasuredProcess {
    const child = spawn('taskset', ['-c', String(core), program, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    writeFileSync(logFile, '')
    const keep = (text: Buffer): void => writeFileSync(logFile, text, { flag: 'a' })
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    return new MeasuredProcess(child)
  }

  /** taskset becomes the program: it is the same process. */
  get pid(): number {
    return this.#child.pid!
  }

  get hasExited(): boolean {
    return this.#exited
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  async stop(): Promise<void> {
    if (this.#exited) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 30_000)
    await exited
    clearTimeout(timer)
  }

  async ended(): Promise<void> {
    if (!this.#exited) await once(this.#child, 'exit')
  }
}
