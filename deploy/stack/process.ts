import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StackError } from './errors.ts'
import { guardDirectory, guardGroup, releaseGroup } from './guard.ts'

const PROBE_MS = 50
const PORT_TRIES = 10
const PORT_PAUSE_MS = 500
const TERMINATION_MS = 15_000
const LOG_TAIL_LINES = 25

export interface ServerSpec {
  /** As errors call it. */
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  /** Holds `<name>.<n>.log`, one file a start. */
  readonly directory: string
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Whether it serves, judged by what it logged since this start, or by asking it. */
  readonly isReady: (log: string) => boolean | Promise<boolean>
  /** Longest wait for that. Default 60 s: the first start on a busy machine. */
  readonly startMs?: number
}

/**
 * A server in a process group of its own, which a test may kill, start again, stop in its tracks and resume.
 * It ends with the process that started it, however that ends.
 */
export class ServerProcess {
  readonly #spec: ServerSpec
  #child: ChildProcess | null = null
  #starts = 0

  constructor(spec: ServerSpec) {
    this.#spec = spec
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  /** Where the output of the last start stands. */
  get logFile(): string {
    return join(this.#spec.directory, `${this.#spec.name}.${this.#starts}.log`)
  }

  /**
   * Starts it, for the first time or again after {@link kill} or {@link stop}; resolves when it serves.
   * @throws StackError START_FAILED with the end of its log
   */
  async start(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.launch()
        await this.ready()
        return
      } catch (error) {
        // What it left behind when it was killed, or a neighbour's choice, holds its port a little longer.
        if (tries === PORT_TRIES || !/Address already in use/.test((error as Error).message)) throw error
        await this.kill()
        await sleep(PORT_PAUSE_MS)
      }
    }
  }

  /** As {@link start}, but does not wait: servers that need each other are launched first. */
  async launch(): Promise<void> {
    if (this.#child !== null) throw new StackError('BAD_REQUEST', `${this.#spec.name} runs already.`)
    this.#starts++
    await mkdir(this.#spec.directory, { recursive: true })
    const log = openSync(this.logFile, 'w')
    const child = spawn(this.#spec.program, this.#spec.args, {
      cwd: this.#spec.directory,
      env: { ...process.env, ...this.#spec.env },
      stdio: ['ignore', log, log],
      detached: true,
    })
    closeSync(log)
    child.unref()
    child.once('exit', () => {
      if (child.pid !== undefined) releaseGroup(child.pid)
      if (this.#child === child) this.#child = null
    })
    child.once('error', () => (this.#child = null))
    if (child.pid !== undefined) guardGroup(child.pid)
    this.#child = child
  }

  /** @throws StackError START_FAILED where it ended, or does not serve in time */
  async ready(): Promise<void> {
    const { name, isReady, startMs = 60_000 } = this.#spec
    const deadline = performance.now() + startMs
    while (!(await isReady(this.#log()))) {
      if (this.#child === null) throw this.#failed(`${name} ended while it started`)
      if (performance.now() > deadline) {
        await this.kill()
        throw this.#failed(`${name} did not serve within ${startMs / 1000} s`)
      }
      await sleep(PROBE_MS)
    }
  }

  /** Ends it at once (SIGKILL), as a crash does. Does nothing where it does not run. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it in order (SIGTERM), or at once when it takes longer than 15 s. */
  async stop(): Promise<void> {
    this.resume()
    const timer = setTimeout(() => this.#signal('SIGKILL'), TERMINATION_MS)
    await this.#end('SIGTERM')
    clearTimeout(timer)
  }

  /** SIGSTOP: it holds its connections and answers nothing. */
  pause(): void {
    this.#signal('SIGSTOP')
  }

  /** SIGCONT. */
  resume(): void {
    this.#signal('SIGCONT')
  }

  /** The last lines that it logged. */
  logTail(): string {
    return this.#log().trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === null) return
    // Referenced again, or a process with nothing else to do ends before its server has.
    child.ref()
    const ended = once(child, 'exit')
    this.#signal(signal)
    await ended
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.pid === undefined) return
    try {
      process.kill(-this.#child.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  #log(): string {
    return readFileSync(this.logFile, 'utf8')
  }

  #failed(what: string): StackError {
    return new StackError('START_FAILED', `${what}. The end of ${this.logFile}:\n${this.logTail()}`)
  }
}

/** A directory for a server's files: the caller's own, which stays, or a temporary one, which goes. */
export class ServerDirectory {
  readonly path: string
  readonly #isOwn: boolean

  private constructor(path: string, isOwn: boolean) {
    this.path = path
    this.#isOwn = isOwn
  }

  static async open(name: string, given: string | undefined): Promise<ServerDirectory> {
    if (given !== undefined) {
      await mkdir(given, { recursive: true })
      return new ServerDirectory(given, true)
    }
    const path = await mkdtemp(join(tmpdir(), `millrace-${name}-`))
    guardDirectory(path)
    return new ServerDirectory(path, false)
  }

  async remove(): Promise<void> {
    if (!this.#isOwn) await rm(this.path, { recursive: true, force: true, maxRetries: 3 })
  }
}
