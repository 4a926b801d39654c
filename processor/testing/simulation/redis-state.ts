import { KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../../log/batch.ts'
import { ConnectionLost, type Connection } from '../../../log/simulated/wire.ts'
import { SEGMENT_BYTES } from '../../state/keys.ts'
import {
  StateError,
  type Checkpoint,
  type StateBackend,
  type StateEntry,
  type StateMeta,
  type StateOwner,
  type StateWrite,
  type TaskState,
} from '../../state/port.ts'
import type { ApplyChunk, NotOurs, Proof, ScanCursor, ScanPiece, SimulatedRedis } from './redis-server.ts'

const RETRY_MS = 15
/** Sent again so often where no answer came, as ioredis does after it has connected again. */
const RETRIES = 3

/** One process' client of a simulated Redis. */
export class SimulatedRedisState implements StateBackend {
  readonly #server: SimulatedRedis
  readonly #connection: Connection
  readonly #chunkRows: number

  /** @param options.chunkRows rows of a write or a scan that go at once; default 3, so that small ones have chunks too */
  constructor(server: SimulatedRedis, connection: Connection, options: { chunkRows?: number } = {}) {
    this.#server = server
    this.#connection = connection
    this.#chunkRows = options.chunkRows ?? 3
  }

  async takeOver(task: string, owner: StateOwner): Promise<TaskState> {
    const taken = await this.#ask(task, `take-over ${task} by ${owner.token}`, () =>
      this.#server.takeOver(task, owner),
    )
    if (taken === 'NOT_OURS') throw lost(task)
    const found = taken === null ? null : { meta: taken.meta, taskRecord: taken.taskRecord }
    if (taken !== null) this.#unlink(task, taken.others)
    return new SimulatedTaskState(task, owner, found, {
      ask: (what, operation) => this.#ask(task, what, operation),
      server: this.#server,
      chunkRows: this.#chunkRows,
      unlink: (others) => this.#unlink(task, others),
    })
  }

  async close(): Promise<void> {
    // Nothing is held.
  }

  async #ask<A extends object | string | null>(task: string, what: string, operation: () => A): Promise<A> {
    for (let tries = 0; ; tries++) {
      try {
        const answer = await this.#connection.request<{ given: A } | null>(what, (reply) =>
          reply(this.#server.isAwayFor(task) ? null : { given: operation() }),
        )
        if (answer !== null) return answer.given
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
      }
      if (tries === RETRIES) {
        throw new StateError('STATE_UNAVAILABLE', `The state did not answer to ${what}.`)
      }
      await this.#connection.sleep(RETRY_MS * (tries + 1))
    }
  }

  /** Behind the back of what goes on; what it does not reach is left to the next owner. */
  #unlink(task: string, others: readonly string[]): void {
    for (const other of others) {
      this.#ask(task, `unlink ${other} of ${task}`, () => {
        this.#server.unlink(task, other)
        return null
      }).catch(() => undefined)
    }
  }
}

interface TaskDependencies {
  readonly server: SimulatedRedis
  readonly chunkRows: number
  ask<A extends object | string | null>(what: string, operation: () => A): Promise<A>
  unlink(others: readonly string[]): void
}

class SimulatedTaskState implements TaskState {
  readonly found: TaskState['found']
  readonly #task: string
  readonly #owner: StateOwner
  readonly #dependencies: TaskDependencies
  #incarnation: string | null
  #checkpoint: Checkpoint

  constructor(task: string, owner: StateOwner, found: TaskState['found'], dependencies: TaskDependencies) {
    this.#task = task
    this.#owner = owner
    this.found = found
    this.#dependencies = dependencies
    this.#incarnation = found?.meta.incarnation ?? null
    this.#checkpoint = found?.meta.checkpoint ?? { changelog: 0, windows: 0 }
  }

  async newIncarnation(timeMs: number): Promise<StateMeta> {
    const { ask, server, unlink } = this.#dependencies
    const begun = ours(
      this.#task,
      await ask(`new incarnation of ${this.#task}`, () =>
        server.newIncarnation(this.#task, this.#owner, timeMs),
      ),
    )
    this.#incarnation = begun.meta.incarnation
    this.#checkpoint = begun.meta.checkpoint
    unlink(begun.others)
    return begun.meta
  }

  async readMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    const { ask, server } = this.#dependencies
    const proof = this.#proof()
    const names = keys.map((key) => key.toString('latin1'))
    return ours(
      this.#task,
      await ask(`read ${names.length} of ${this.#task}`, () => server.readMany(this.#task, proof, names)),
    )
  }

  async *scan(prefix: Buffer): AsyncIterable<readonly StateEntry[]> {
    const { ask, server } = this.#dependencies
    const start = prefix.toString('latin1')
    let cursor: ScanCursor | null = null
    for (;;) {
      const proof = this.#proof()
      const at: ScanCursor | null = cursor
      const piece: ScanPiece | 'OTHER_SERVER' = ours(
        this.#task,
        await ask(`scan ${this.#task}`, () =>
          server.scan(this.#task, proof, start, at, this.#dependencies.chunkRows),
        ),
      )
      if (piece === 'OTHER_SERVER') {
        cursor = null
        continue
      }
      yield piece.entries.map(([key, value]) => ({ key: Buffer.from(key, 'latin1'), value }))
      cursor = piece.cursor
      if (cursor === null) return
    }
  }

  async apply(write: StateWrite): Promise<void> {
    const { ask, server } = this.#dependencies
    const proof = { ...this.#proof(), checkpoint: write.base }
    for (const chunk of chunksOf(write, this.#dependencies.chunkRows)) {
      const applied = ours(
        this.#task,
        await ask(
          `apply ${this.#task} to ${chunk.end.changelog}/${chunk.end.windows} part ${chunk.part}`,
          () => server.apply(this.#task, proof, chunk),
        ),
      )
      if (applied === 'DONE_BEFORE') break
    }
    this.#checkpoint = write.end
  }

  #proof(): Proof {
    if (this.#incarnation === null) throw lost(this.#task)
    return { owner: this.#owner, incarnation: this.#incarnation, checkpoint: this.#checkpoint }
  }
}

function chunksOf(write: StateWrite, chunkRows: number): ApplyChunk[] {
  const rows: { key: string; value: Buffer | null }[] = []
  for (const { buffer, positions, count } of write.records) {
    for (let row = 0; row < count * STRIDE; row += STRIDE) {
      const key = buffer.subarray(positions[row + KEY_START]!, positions[row + KEY_END]!)
      if (write.skip?.(key.subarray(0, SEGMENT_BYTES)) === true) continue
      const end = positions[row + VALUE_END]!
      const value = end < 0 ? null : Buffer.from(buffer.subarray(positions[row + VALUE_START]!, end))
      rows.push({ key: key.toString('latin1'), value })
    }
  }
  const parts = Math.max(1, Math.ceil(rows.length / chunkRows))
  return Array.from({ length: parts }, (_, i) => ({
    end: write.end,
    part: i + 1,
    isLast: i === parts - 1,
    rows: rows.slice(i * chunkRows, (i + 1) * chunkRows),
    dropPrefixes: i === parts - 1 ? write.dropPrefixes.map((prefix) => prefix.toString('latin1')) : [],
    taskRecord: write.taskRecord === null ? null : Buffer.from(write.taskRecord),
    timeMs: write.timeMs,
  }))
}

function ours<A>(task: string, answer: A | NotOurs): A {
  if (answer === 'NOT_OURS') throw lost(task)
  return answer as A
}

function lost(task: string): StateError {
  return new StateError('STATE_LOST', `${task}: its state is gone, went back or belongs to another owner`)
}
