import type { Clock } from '../../../config/clock.ts'
import {
  StateError,
  type Checkpoint,
  type StateEntry,
  type StateMeta,
  type StateOwner,
  type StateWrite,
  type TaskState,
} from '../port.ts'
import { SEGMENT_BYTES } from '../keys.ts'
import { ApplyChunks } from './apply-chunks.ts'
import type { RedisConnection } from './connection.ts'
import { lost, type MetaReply } from './errors.ts'
import { InFlight } from './in-flight.ts'
import type { CopyKeys, TaskKeys } from './key-names.ts'
import { forEachPacked } from './packed-values.ts'
import type { ScriptCall } from './resp.ts'
import { applyScript, newIncarnationScript, readManyScript, scanScript, type Script } from './scripts.ts'
import type { Segments } from './segments.ts'
import type { RedisStats } from './stats.ts'

/** Lua's stack holds 8,000 values; a call also holds the server for its time. */
const READ_KEYS = 3_900
const SCAN_COUNT = 2_000
/** Calls of one operation on their way at the same time. */
const IN_FLIGHT = 2

const NOT_OURS = 0
const ALREADY_DONE = 2
const OTHER_SERVER = 2

export interface TaskStateDependencies {
  readonly connection: RedisConnection
  /** Shared by all tasks: filled and emptied between two awaits. */
  readonly segments: Segments
  readonly stats: RedisStats
  readonly clock: Clock
  /** Takes the names of old copies that may go. */
  readonly unlink: (keys: TaskKeys, incarnations: readonly string[]) => void
}

export class RedisTaskState implements TaskState {
  readonly found: TaskState['found']
  readonly #task: string
  readonly #owner: StateOwner
  readonly #keys: TaskKeys
  readonly #dependencies: TaskStateDependencies
  #copy: { readonly incarnation: string; readonly keys: CopyKeys } | null = null
  /** The last one that Redis said it has: an answer with a lower one comes from an older copy. */
  #checkpoint: Checkpoint

  constructor(
    task: string,
    owner: StateOwner,
    keys: TaskKeys,
    found: TaskState['found'],
    dependencies: TaskStateDependencies,
  ) {
    this.#task = task
    this.#owner = owner
    this.#keys = keys
    this.found = found
    this.#dependencies = dependencies
    this.#checkpoint = found?.meta.checkpoint ?? { changelog: 0, windows: 0 }
    if (found !== null) this.#useCopy(found.meta.incarnation)
  }

  async newIncarnation(timeMs: number): Promise<StateMeta> {
    const { clusterId, topicId, token } = this.#owner
    const incarnation = `${topicId}/${token}`
    const { connection, unlink } = this.#dependencies
    const copy = this.#keys.copy(incarnation)
    const call = connection
      .call()
      .begin(newIncarnationScript, [this.#keys.meta, this.#keys.incarnations, copy.segments])
    for (const text of [clusterId, topicId, String(token), incarnation, String(timeMs)]) call.text(text)
    const reply = (await connection.run(call)) as [number, ...unknown[]]
    if (reply[0] === NOT_OURS) throw this.#lost(reply.slice(1) as MetaReply)
    this.#checkpoint = { changelog: 0, windows: 0 }
    this.#useCopy(incarnation)
    unlink(this.#keys, (reply[1] as Buffer[]).map(String))
    return { ...this.#owner, incarnation, checkpoint: this.#checkpoint, timeMs }
  }

  async readMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    const { stats, clock } = this.#dependencies
    const startedMs = clock.nowMs()
    const values = new Array<Buffer | null>(keys.length).fill(null)
    const calls = new InFlight(IN_FLIGHT)
    let from = 0
    do {
      const until = Math.min(from + READ_KEYS, keys.length)
      await calls.add(this.#readChunk(keys, from, until, values))
      from = until
    } while (from < keys.length)
    await calls.end()
    stats.keysRead += keys.length
    stats.readMs += clock.nowMs() - startedMs
    return values
  }

  async *scan(prefix: Buffer): AsyncIterable<readonly StateEntry[]> {
    if (prefix.length < SEGMENT_BYTES) {
      throw new RangeError(`A scan takes a segment's ${SEGMENT_BYTES} bytes or more, not ${prefix.length}`)
    }
    const { connection, stats } = this.#dependencies
    const segment = prefix.subarray(0, SEGMENT_BYTES)
    const pattern = patternOf(prefix.subarray(SEGMENT_BYTES))
    let cursor = '0'
    let server = ''
    do {
      const { keys } = this.#ourCopy()
      const call = this.#begin(scanScript, [this.#keys.meta, keys.segment(segment), keys.segments])
      call.text(cursor)
      call.text(server)
      call.bytes(pattern)
      call.number(SCAN_COUNT)
      stats.scanCalls++
      const reply = this.#proven(await connection.run(call)) as [number, Buffer, Buffer, Buffer[]]
      if (reply[0] === OTHER_SERVER) {
        this.#dependencies.stats.lost++
        throw new StateError(
          'STATE_LOST',
          `${this.#task}: Redis was restarted or failed over during a scan, whose rest means nothing to ` +
            'the server that answers now. The task is opened again.',
        )
      }
      server = reply[1].toString()
      cursor = reply[2].toString()
      const found = reply[3]
      if (found.length === 0) continue
      const entries: StateEntry[] = []
      for (let i = 0; i < found.length; i += 2) {
        entries.push({ key: Buffer.concat([segment, found[i]!]), value: found[i + 1]! })
      }
      yield entries
    } while (cursor !== '0')
  }

  async apply(write: StateWrite): Promise<void> {
    if (write.dropPrefixes.some((prefix) => prefix.length !== SEGMENT_BYTES)) {
      throw new RangeError(`A dropped prefix is a whole segment: ${SEGMENT_BYTES} bytes`)
    }
    const { connection, segments, stats, clock } = this.#dependencies
    const startedMs = clock.nowMs()
    const chunks = new ApplyChunks(write)
    const calls = new InFlight(IN_FLIGHT)
    const outcome = { isDone: false }
    for (let part = 1, isLast = false; !isLast && !outcome.isDone; part++) {
      isLast = chunks.next(segments)
      const call = this.#beginApply(write, part, isLast, chunks.drops)
      stats.entriesWritten += chunks.written
      stats.entriesDeleted += chunks.deleted
      const sent = connection.run(call).then((reply) => {
        if ((this.#proven(reply) as [number])[0] === ALREADY_DONE) outcome.isDone = true
      })
      await calls.add(sent)
    }
    await calls.end()
    this.#checkpoint = write.end
    stats.applyCalls++
    stats.segmentsDropped += write.dropPrefixes.length
    stats.applyMs += clock.nowMs() - startedMs
  }

  /** One chunk of a write out of the segments that were filled with it. */
  #beginApply(write: StateWrite, part: number, isLast: boolean, drops: readonly Buffer[]): ScriptCall {
    const { segments } = this.#dependencies
    const { keys } = this.#ourCopy()
    const names = [this.#keys.meta, keys.segments]
    for (const { segment } of segments.values()) names.push(keys.segment(segment))
    for (const prefix of drops) names.push(keys.segment(prefix))
    const call = this.#begin(applyScript, names, write.base)
    call.number(write.end.changelog)
    call.number(write.end.windows)
    call.number(part)
    call.text(isLast ? '1' : '0')
    call.number(write.timeMs)
    call.text(write.taskRecord === null ? '0' : '1')
    call.bytes(write.taskRecord === null || !isLast ? Buffer.alloc(0) : write.taskRecord)
    call.number(segments.size)
    let runs = 0
    for (const rows of segments.values()) runs += rows.runs.length
    call.number(runs)
    let hash = 0
    for (const rows of segments.values()) {
      hash++
      for (const run of rows.runs) {
        call.number(hash)
        call.number(run)
      }
    }
    for (const { body } of segments.values()) call.append(body)
    return call
  }

  async #readChunk(
    keys: readonly Buffer[],
    from: number,
    until: number,
    values: (Buffer | null)[],
  ): Promise<void> {
    const { connection, segments, stats } = this.#dependencies
    segments.clear()
    for (let i = from; i < until; i++) {
      const key = keys[i]!
      const { segment, body, indexes } = segments.of(key, 0, key.length)
      body.bulk(key, segment.length, key.length)
      indexes.push(i)
    }
    const { keys: copy } = this.#ourCopy()
    const names = [this.#keys.meta, copy.segments]
    const order: number[][] = []
    for (const { segment } of segments.values()) names.push(copy.segment(segment))
    const call = this.#begin(readManyScript, names)
    for (const { body, indexes } of segments.values()) {
      call.number(indexes.length)
      call.append(body)
      order.push([...indexes])
    }
    stats.readCalls++
    const reply = this.#proven(await connection.run(call)) as [number, ...Buffer[]]
    for (const [hash, indexes] of order.entries()) {
      forEachPacked(reply[hash + 1] as Buffer, (i, value) => {
        if (value === null) return
        values[indexes[i]!] = value
        stats.keysFound++
        stats.bytesRead += value.length
      })
    }
  }

  /** A call with its proof: whose the state has to be, and the checkpoint to be found. */
  #begin(script: Script, keys: readonly Buffer[], checkpoint = this.#checkpoint): ScriptCall {
    const call = this.#dependencies.connection.call().begin(script, keys)
    call.text(this.#owner.clusterId)
    call.text(this.#owner.topicId)
    call.number(this.#owner.token)
    call.text(this.#ourCopy().incarnation)
    call.number(checkpoint.changelog)
    call.number(checkpoint.windows)
    return call
  }

  /** @throws StateError STATE_LOST where the script found another meta than ours */
  #proven(reply: unknown): unknown {
    const [status, ...meta] = reply as [number, ...MetaReply]
    if (status === NOT_OURS) throw this.#lost(meta)
    return reply
  }

  #lost(meta: MetaReply): StateError {
    this.#dependencies.stats.lost++
    return lost(this.#task, this.#owner, this.#copy?.incarnation ?? null, this.#checkpoint, meta)
  }

  #useCopy(incarnation: string): void {
    this.#copy = { incarnation, keys: this.#keys.copy(incarnation) }
  }

  /** @throws StateError STATE_LOST before the first incarnation: there is nothing of ours */
  #ourCopy(): { readonly incarnation: string; readonly keys: CopyKeys } {
    if (this.#copy === null) throw this.#lost([])
    return this.#copy
  }
}

/** Fields that begin with these bytes, none of which is to be taken for a wildcard. */
function patternOf(bytes: Buffer): Buffer {
  const escaped: number[] = []
  for (const byte of bytes) {
    if ('*?[]\\'.includes(String.fromCharCode(byte))) escaped.push(92)
    escaped.push(byte)
  }
  return Buffer.from([...escaped, 42])
}
