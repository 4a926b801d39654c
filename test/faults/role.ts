import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { guardGroup, releaseGroup } from '../../deploy/stack/guard.ts'

const COMMAND = join(import.meta.dirname, '..', '..', 'cli', 'millrace.js')
const PRELOAD = import.meta.resolve('./die-at-step.ts')
/** What a role is bound to, once it is. */
const FIRST_LINE = /^orders: log /m
const LOG_TAIL_CHARACTERS = 1_500
/** What a role has to end in order; then it is killed, and that counts as its own failure. */
const STOP_MS = 30_000

/** How a process ended. */
export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** It had opened everything that it needs, and said what it is bound to. */
  readonly hasBegun: boolean
  /** The end of what it said. */
  readonly said: string
}

export interface RoleOptions {
  readonly name: string
  readonly args: readonly string[]
  /** All of its environment beside PATH and HOME. */
  readonly env: Readonly<Record<string, string>>
  /** Where its logs go, `<name>.<n>.log`. */
  readonly directory: string
  /** Told of every end, also of those that were asked for. */
  readonly onEnd: (role: Role, end: End) => void
}

/** One `millrace` command, started again and again under the same name. */
export class Role {
  readonly name: string
  readonly #options: RoleOptions
  #child: ChildProcess | null = null
  #starts = 0
  #file = ''
  #ended: Promise<End> | null = null
  /** Whether its next end is what somebody asked for. */
  isAskedToEnd = false
  isPaused = false

  constructor(options: RoleOptions) {
    this.name = options.name
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  /** @param dieAt as die-at-step.ts takes it */
  start(dieAt: string | null = null): void {
    const { args, env, directory, name } = this.#options
    const file = join(directory, `${name}.${++this.#starts}.log`)
    this.#file = file
    const log = openSync(file, 'w')
    const child = spawn(
      process.execPath,
      ['--max-semi-space-size=8', '--import', PRELOAD, COMMAND, ...args],
      {
        cwd: directory,
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          ...env,
          ...(dieAt === null ? {} : { FAULTS_DIE_AT: dieAt }),
        },
        stdio: ['ignore', log, log],
        detached: true,
      },
    )
    closeSync(log)
    guardGroup(child.pid!)
    this.#child = child
    this.isAskedToEnd = false
    this.isPaused = false
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      releaseGroup(child.pid!)
      this.#child = null
      const text = readFileSync(file, 'utf8')
      const end: End = {
        code: code as number | null,
        signal: signal as NodeJS.Signals | null,
        hasBegun: FIRST_LINE.test(text),
        said: text.slice(-LOG_TAIL_CHARACTERS),
      }
      this.#options.onEnd(this, end)
      return end
    })
  }

  /** SIGKILL. Does nothing where it does not run. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** SIGTERM: it commits and leaves its group. */
  async stop(): Promise<void> {
    this.resume()
    const timer = setTimeout(() => {
      this.isAskedToEnd = false
      this.#signal('SIGKILL')
    }, STOP_MS)
    await this.#end('SIGTERM')
    clearTimeout(timer)
  }

  pause(): void {
    this.isPaused = true
    this.#signal('SIGSTOP')
  }

  resume(): void {
    this.isPaused = false
    this.#signal('SIGCONT')
  }

  /** The end of what it said since it last started. */
  said(): string {
    return readFileSync(this.#file, 'utf8').slice(-LOG_TAIL_CHARACTERS)
  }

  /** How it ends, or ended; it must have been started. */
  async ended(): Promise<End> {
    return this.#ended!
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child === null) return
    this.isAskedToEnd = true
    this.#signal(signal)
    await this.#ended
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child !== null) process.kill(-this.#child.pid!, signal)
  }
}
