import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'

/** Of /proc's times; Linux has had 100 for user space since long. */
const TICKS_PER_SECOND = 100
const STOP_MS = 30_000

/** CPU time of a process so far, all its threads and children that still run, seconds. */
export function cpuSeconds(pid: number): number {
  return treeOf(pid).reduce((sum, one) => sum + ownCpuSeconds(one), 0)
}

/** Memory of its own and its children's, file pages left out, MiB. */
export function anonymousMiB(pid: number): number {
  return treeOf(pid).reduce((sum, one) => sum + ownAnonymousMiB(one), 0)
}

function ownCpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name, in parentheses, may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

function ownAnonymousMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  return [pid, ...children.flatMap((child) => treeOf(Number(child)))]
}

/** Keeps a process, its threads included, to these cores. */
export function pin(pid: number, cores: readonly number[]): void {
  spawnSync('taskset', ['-a', '-c', '-p', cores.join(), String(pid)], { stdio: 'ignore' })
}

export interface ProcessSpec {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cores: readonly number[]
  /** Its output goes there. */
  readonly logFile: string
  /** Told of each line of its standard output. */
  readonly onLine?: (line: string) => void
}

/** A program that is measured from outside. */
export class MeasuredProcess {
  readonly #child: ChildProcess
  #exited = false

  private constructor(child: ChildProcess) {
    this.#child = child
    child.once('exit', () => (this.#exited = true))
  }

  static start({ program, args, env, cores, logFile, onLine }: ProcessSpec): MeasuredProcess {
    const child = spawn('taskset', ['-c', cores.join(), program, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    writeFileSync(logFile, '')
    const keep = (text: Buffer): void => writeFileSync(logFile, text, { flag: 'a' })
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    if (onLine !== undefined) {
      let rest = ''
      child.stdout.on('data', (text: Buffer) => {
        const lines = (rest + text.toString()).split('\n')
        rest = lines.pop()!
        for (const line of lines) onLine(line)
      })
    }
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
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await exited
    clearTimeout(timer)
  }

  async ended(): Promise<void> {
    if (!this.#exited) await once(this.#child, 'exit')
  }
}
