/** Several copies of a command as one: their lines in one log, ended together, started again when they die. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Backoff } from '../config/backoff.ts'
import { EXIT } from './errors.ts'
import type { Output } from './io.ts'

/** Set for a copy: it ends cleanly when whoever supervises it is gone. */
export const SUPERVISED = 'MILLRACE_SUPERVISED'

/** One that ends with an error sooner would end so again: a setting that no start mends. */
const SETTLED_MS = 10_000
/** What a copy has to end in order; then it is killed. */
const STOP_MS = 60_000

export interface Copy {
  /** After the program's own name. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface SuperviseOptions {
  readonly program: string
  readonly copies: readonly Copy[]
  /** Their lines, each behind the copy's number from 1 on. */
  readonly stdout: Output
  readonly stderr: Output
  /** Lines of standard output are JSON objects: the number goes into each, as `copy`. */
  readonly json?: boolean
  /** Ends all of them cleanly. */
  readonly signal: AbortSignal
  readonly random?: () => number
  /** Default 10,000. */
  readonly settledMs?: number
}

/**
 * Runs all copies until each has ended well, the signal aborts, or one fails before it has settled, which ends
 * the others too. One that fails later is started again, ever more slowly.
 * @returns the exit code of the whole
 */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  // What comes of ending the others says nothing new.
  let first: number = EXIT.ok
  await Promise.all(
    options.copies.map(async (copy, i) => {
      const code = await keepRunning(copy, i + 1, { ...options, signal })
      if (first === EXIT.ok) first = code
      if (code !== EXIT.ok) failed.abort()
    }),
  )
  return first
}

async function keepRunning(copy: Copy, number: number, options: SuperviseOptions): Promise<number> {
  const { signal, stderr, random = Math.random, settledMs = SETTLED_MS } = options
  const backoff = new Backoff({ initialMs: 1_000, maxMs: 30_000, random })
  for (;;) {
    const startedMs = performance.now()
    const { code, how } = await runOnce(copy, number, options)
    if (code === EXIT.ok || signal.aborted) return code
    if (performance.now() - startedMs < settledMs && backoff.tries === 0) return code
    const pauseMs = backoff.nextMs()
    stderr.write(`[${number}] ended ${how}; starting it again in ${(pauseMs / 1_000).toFixed(1)} s.\n`)
    const isStopped = await sleep(pauseMs, false, { signal }).catch(() => true)
    if (isStopped) return EXIT.ok
    if (performance.now() - startedMs > 10 * settledMs) backoff.reset()
  }
}

async function runOnce(
  { args, env }: Copy,
  number: number,
  { program, stdout, stderr, json = false, signal }: SuperviseOptions,
): Promise<{ code: number; how: string }> {
  // A group of its own: Ctrl+C in the terminal reaches it once, through us.
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    env: { ...env, [SUPERVISED]: '1' },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  })
  const stop = (): void => end(child)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop)
  const closed = once(child, 'close')
  const numbered = (line: string): string => `[${number}] ${line}\n`
  const inObject = (line: string): string => `{"copy":${number},${line.slice(1)}\n`
  void passOn(child.stdout!, json ? inObject : numbered, stdout)
  void passOn(child.stderr!, numbered, stderr)
  const [code, by] = (await closed) as [number | null, NodeJS.Signals | null]
  signal.removeEventListener('abort', stop)
  return { code: code ?? EXIT.failure, how: by === null ? `with code ${code}` : `by ${by}` }
}

function end(child: ChildProcess): void {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  child.once('exit', () => clearTimeout(timer))
}

async function passOn(stream: Readable, as: (line: string) => string, output: Output): Promise<void> {
  for await (const line of createInterface({ input: stream })) output.write(as(line))
}
