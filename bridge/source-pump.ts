import { systemTimer, type Clock } from '../config/clock.ts'
import type { SourceReader } from './reader.ts'
import type { SourceWriter } from './source-writer.ts'

/** How long an idle source sleeps before it looks again. */
const IDLE_MS = 250

export interface PumpOptions {
  readonly reader: SourceReader
  readonly writer: SourceWriter
  readonly clock: Clock
  /**
   * Back-pressure: asked before each chunk. What it returns is awaited before the source goes on, so
   * that the log grows no further than its readers follow.
   */
  gate?(): Promise<void> | undefined
  /** Ends the source at the next transaction boundary. */
  readonly stop: AbortSignal
}

export interface LingerOptions {
  readonly writer: SourceWriter
  readonly clock: Clock
  readonly until: AbortSignal
}

/** Moves one source from its reader through its writer until a finite one ends or it is stopped. */
export async function pump({ reader, writer, clock, gate, stop }: PumpOptions): Promise<'done' | 'stopped'> {
  for (;;) {
    if (stop.aborted) break
    const closed = gate?.()
    if (closed !== undefined) {
      // What was read before the gate closed must not wait for it.
      await writer.flush(reader, clock.nowMs())
      await orAborted(closed, stop)
      continue
    }
    const nowMs = clock.nowMs()
    writer.startChunk(nowMs)
    const state = await reader.read(writer, nowMs)
    if (state === 'done') {
      await writer.flush(reader, clock.nowMs())
      await writer.settled()
      return 'done'
    }
    const dueInMs = writer.dueInMs(clock.nowMs())
    if (writer.isDue(clock.nowMs()) || (state === 'idle' && dueInMs === Infinity)) {
      await writer.flush(reader, clock.nowMs())
    }
    if (state !== 'idle') continue
    // With nothing to read there is nothing to overlap, and a failure shows now and not with the next record.
    await writer.settled()
    await reader.wait(Math.max(1, Math.min(dueInMs, IDLE_MS)), stop)
  }
  await writer.flush(reader, clock.nowMs())
  await writer.settled()
  return 'stopped'
}

/** Which of a process' finite sources were read to their end; they stay until all are. */
export class Ends {
  readonly #missing: Set<string>
  readonly #all = new AbortController()

  constructor(sources: Iterable<string>) {
    this.#missing = new Set(sources)
  }

  get all(): AbortSignal {
    return this.#all.signal
  }

  note(source: string): void {
    this.#missing.delete(source)
    if (this.#missing.size === 0) this.#all.abort()
  }
}

/** Goes on with the heartbeats of a source that was read to its end before others, so that it does not count as silent. */
export async function linger({ writer, clock, until }: LingerOptions): Promise<void> {
  while (!until.aborted) {
    await writer.repeatHeartbeat(clock.nowMs())
    await systemTimer.sleep(IDLE_MS, until)
  }
}

async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  const abort = (): void => resolve()
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
