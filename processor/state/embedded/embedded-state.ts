import { createHash } from 'node:crypto'
import { open, type RootDatabase } from 'lmdb'
import { roomIn } from '../../../config/disk.ts'
import { KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../../log/batch.ts'
import { SEGMENT_BYTES } from '../keys.ts'
import { lmdbDamage } from '../../../log/lmdb-file.ts'
import type { StateLook } from '../look.ts'
import {
  assertNotOutlived,
  assertOurs,
  sameCheckpoint,
  sameLog,
  StateError,
  type StateBackend,
  type StateEntry,
  type StateMeta,
  type StateOwner,
  type StateRecords,
  type StateWrite,
  type TaskState,
} from '../port.ts'

type Store = RootDatabase<Buffer, Buffer>

/** Task number (4 bytes) · incarnation number (4): what every entry's key begins with. */
const PREFIX_BYTES = 8
/** lmdb's limit is 1,978 bytes; longer keys are stored by hash, with the full key in the value. */
const LONGEST_KEY = 1_900
const SCAN_CHUNK = 4_096
const HASHED = 1
const PLAIN = 0

interface StoredMeta {
  readonly task: number
  readonly copy: number
  readonly meta: StateMeta
  readonly taskRecord: string | null
}

/**
 * State in lmdb, on local disk. The directory belongs to this process alone (cli's lock), so the
 * meta is authoritative in memory; it is written in the same lmdb transaction as the entries.
 */
export class EmbeddedState implements StateBackend {
  readonly #directory: string
  readonly #db: Store
  readonly #metas = new Map<string, StoredMeta>()
  #nextTask = 0

  private constructor(directory: string, db: Store) {
    this.#directory = directory
    this.#db = db
  }

  /** @throws StateError STATE_UNAVAILABLE when the directory cannot be opened, or what it holds is no state */
  static open(directory: string, { readOnly = false } = {}): EmbeddedState {
    let db: Store
    try {
      const damage = lmdbDamage(directory)
      if (damage !== null) throw damaged(directory, damage)
      db = open<Buffer, Buffer>({
        path: directory,
        readOnly,
        keyEncoding: 'binary',
        encoding: 'binary',
        mapSize: 2 ** 30,
        maxDbs: 1,
        // Otherwise lmdb keeps a promise of its own for each turn, whose rejection nobody can handle:
        // a full disk would end the process.
        eventTurnBatching: false,
        overlappingSync: false,
      })
    } catch (error) {
      if (error instanceof StateError) throw error
      throw new StateError(
        'STATE_UNAVAILABLE',
        `The state in ${directory} cannot be opened: ${String(error)}`,
        {
          cause: error,
        },
      )
    }
    const state = new EmbeddedState(directory, db)
    try {
      state.#readMetas()
    } catch (error) {
      void db.close()
      throw damaged(directory, (error as Error).message, error)
    }
    return state
  }

  #readMetas(): void {
    const range = { start: Buffer.from('meta/'), end: Buffer.from('meta0') }
    for (const { key, value } of this.#db.getRange(range)) {
      const stored = JSON.parse(value.toString('utf8')) as StoredMeta
      this.#metas.set(key.subarray(5).toString('utf8'), stored)
      this.#nextTask = Math.max(this.#nextTask, stored.task + 1)
    }
  }

  async takeOver(task: string, owner: StateOwner): Promise<TaskState> {
    const stored = this.#metas.get(task)
    assertNotOutlived(task, stored?.meta, owner)
    if (stored === undefined || !sameLog(stored.meta, owner)) {
      return Promise.resolve(new EmbeddedTaskState(this, task, owner, null))
    }
    const meta = { ...stored.meta, token: owner.token }
    const found = {
      meta: stored.meta,
      taskRecord: stored.taskRecord === null ? null : Buffer.from(stored.taskRecord, 'base64'),
    }
    const taken = new EmbeddedTaskState(this, task, owner, found)
    return this.write(task, { ...stored, meta }, () => undefined).then(() => taken)
  }

  async close(): Promise<void> {
    await this.#db.close()
  }

  /** What it says of a task, without taking it over; null: nothing. */
  look(task: string): StateLook | null {
    const stored = this.#metas.get(task)
    if (stored === undefined) return null
    const { meta, taskRecord } = stored
    return {
      task,
      incarnation: meta.incarnation,
      token: meta.token,
      changelogOffset: meta.checkpoint.changelog,
      taskRecord: taskRecord === null ? null : Buffer.from(taskRecord, 'base64'),
      size: null,
    }
  }

  /** @internal The task's meta as it stands. */
  meta(task: string): StoredMeta | undefined {
    return this.#metas.get(task)
  }

  /** @internal */
  get db(): Store {
    return this.#db
  }

  /** @internal Within a batch, whose promise tells whether it was written. */
  put(key: Buffer, value: Buffer): void {
    this.#db.put(key, value).catch(reasonOf)
  }

  /** @internal As `put`. */
  remove(key: Buffer): void {
    this.#db.remove(key).catch(reasonOf)
  }

  /** @internal Another number for the task's next copy; the old copy's entries go with the same write. */
  nextCopy(task: string): { task: number; copy: number; previous: Buffer | null } {
    const stored = this.#metas.get(task)
    if (stored === undefined) return { task: this.#nextTask++, copy: 0, previous: null }
    return { task: stored.task, copy: stored.copy + 1, previous: copyPrefix(stored.task, stored.copy) }
  }

  /** @internal Writes the meta and whatever `entries` puts or removes in one lmdb transaction. */
  async write(task: string, stored: StoredMeta, entries: () => void): Promise<void> {
    const key = Buffer.from(`meta/${task}`)
    try {
      // A batch is atomic, and its instructions go to lmdb's own thread: no lock is held here.
      await this.#db.batch(() => {
        entries()
        this.put(key, Buffer.from(JSON.stringify(stored)))
      })
    } catch (error) {
      const reason = `${await reasonOf(error)}; ${roomIn(this.#directory)}`
      const message = `${task}: its state cannot be written (${reason}): make room, or mend the disk.`
      throw new StateError('STATE_UNAVAILABLE', message, { cause: error })
    }
    this.#metas.set(task, stored)
  }
}

class EmbeddedTaskState implements TaskState {
  readonly found: TaskState['found']
  readonly #state: EmbeddedState
  readonly #task: string
  readonly #owner: StateOwner
  #prefix: Buffer | null = null
  #incarnation: string | null = null

  constructor(state: EmbeddedState, task: string, owner: StateOwner, found: TaskState['found']) {
    this.#state = state
    this.#task = task
    this.#owner = owner
    this.found = found
    if (found !== null) {
      const stored = state.meta(task)!
      this.#incarnation = found.meta.incarnation
      this.#prefix = copyPrefix(stored.task, stored.copy)
    }
  }

  async newIncarnation(timeMs: number): Promise<StateMeta> {
    const { topicId, token } = this.#owner
    assertNotOutlived(this.#task, this.#state.meta(this.#task)?.meta, this.#owner)
    const incarnation = `${topicId}/${token}`
    const { task, copy, previous } = this.#state.nextCopy(this.#task)
    const meta = { ...this.#owner, incarnation, checkpoint: { changelog: 0, windows: 0 }, timeMs }
    await this.#state.write(this.#task, { task, copy, meta, taskRecord: null }, () => {
      if (previous !== null) this.#removeRange(previous)
    })
    this.#incarnation = incarnation
    this.#prefix = copyPrefix(task, copy)
    return meta
  }

  async readMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    this.#ours()
    const db = this.#state.db
    const values: (Buffer | null)[] = []
    for (const key of keys) {
      const stored = db.get(this.#entryKey(key))
      values.push(stored === undefined ? null : valueOf(stored))
    }
    return Promise.resolve(values)
  }

  async *scan(prefix: Buffer): AsyncIterable<readonly StateEntry[]> {
    const start = Buffer.concat([this.#prefix!, prefix])
    const end = successor(start)
    let from = start
    for (;;) {
      this.#ours()
      const chunk: StateEntry[] = []
      let last = from
      for (const { key, value } of this.#state.db.getRange({ start: from, end, limit: SCAN_CHUNK })) {
        last = Buffer.from(key)
        const full = value[0] === HASHED ? hashedKeyOf(value) : last.subarray(PREFIX_BYTES)
        chunk.push({ key: full, value: Buffer.from(valueOf(value)) })
      }
      yield await Promise.resolve(chunk)
      if (chunk.length < SCAN_CHUNK) return
      from = Buffer.concat([last, Buffer.from([0])])
    }
  }

  async apply(write: StateWrite): Promise<void> {
    const stored = this.#ours()
    const { checkpoint } = stored.meta
    if (sameCheckpoint(checkpoint, write.end)) return
    if (!sameCheckpoint(checkpoint, write.base)) {
      throw new StateError('STATE_LOST', `${this.#task}: its checkpoint is not where this write begins`)
    }
    const meta = { ...stored.meta, checkpoint: write.end, timeMs: write.timeMs }
    const taskRecord = write.taskRecord === null ? stored.taskRecord : write.taskRecord.toString('base64')
    await this.#state.write(this.#task, { ...stored, meta, taskRecord }, () => {
      for (const records of write.records) this.#putAll(records, write.skip)
      for (const prefix of write.dropPrefixes) this.#removeRange(Buffer.concat([this.#prefix!, prefix]))
    })
  }

  #putAll({ buffer, positions, count }: StateRecords, skip: StateWrite['skip']): void {
    for (let row = 0; row < count * STRIDE; row += STRIDE) {
      const key = buffer.subarray(positions[row + KEY_START]!, positions[row + KEY_END]!)
      if (skip?.(key.subarray(0, SEGMENT_BYTES)) === true) continue
      const end = positions[row + VALUE_END]!
      const entryKey = this.#entryKey(key)
      if (end < 0) this.#state.remove(entryKey)
      else this.#state.put(entryKey, stored(key, buffer.subarray(positions[row + VALUE_START]!, end)))
    }
  }

  #removeRange(prefix: Buffer): void {
    const range = { start: prefix, end: successor(prefix) }
    for (const key of this.#state.db.getKeys(range)) this.#state.remove(Buffer.from(key))
  }

  #entryKey(key: Buffer): Buffer {
    if (key.length <= LONGEST_KEY) return Buffer.concat([this.#prefix!, key])
    // The head keeps the key in its segment and window; the hash tells it apart.
    const hash = createHash('sha256').update(key).digest()
    return Buffer.concat([this.#prefix!, key.subarray(0, LONGEST_KEY - hash.length), hash])
  }

  #ours(): StoredMeta {
    const stored = this.#state.meta(this.#task)
    assertOurs(this.#task, stored?.meta, this.#owner, this.#incarnation)
    return stored!
  }
}

function damaged(directory: string, why: string, cause?: unknown): StateError {
  return new StateError(
    'STATE_UNAVAILABLE',
    `The state in ${directory} is damaged: ${why}. Remove that directory: it is a copy, which the next run makes ` +
      `again from the log.`,
    { cause },
  )
}

function copyPrefix(task: number, copy: number): Buffer {
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES)
  // The high bit keeps entries apart from the metas, which begin with a letter.
  prefix.writeUInt32BE((task | 0x80000000) >>> 0, 0)
  prefix.writeUInt32BE(copy, 4)
  return prefix
}

/** A value with a byte in front that says whether its key stands in it. */
function stored(key: Buffer, value: Buffer): Buffer {
  if (key.length <= LONGEST_KEY) {
    const plain = Buffer.allocUnsafe(1 + value.length)
    plain[0] = PLAIN
    plain.set(value, 1)
    return plain
  }
  const hashed = Buffer.allocUnsafe(5 + key.length + value.length)
  hashed[0] = HASHED
  hashed.writeUInt32BE(key.length, 1)
  hashed.set(key, 5)
  hashed.set(value, 5 + key.length)
  return hashed
}

function hashedKeyOf(stored: Buffer): Buffer {
  return Buffer.from(stored.subarray(5, 5 + stored.readUInt32BE(1)))
}

function valueOf(stored: Buffer): Buffer {
  return stored.subarray(stored[0] === HASHED ? 5 + stored.readUInt32BE(1) : 1)
}

/** The least key after every key that begins with `prefix`. */
function successor(prefix: Buffer): Buffer {
  const next = Buffer.from(prefix)
  for (let i = next.length - 1; i >= 0; i--) {
    if (next[i] !== 0xff) {
      next[i]!++
      return next.subarray(0, i + 1)
    }
  }
  return Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])
}

/** A full disk shows as EIO on one promise, and as "commit failed" with a further promise on another. */
async function reasonOf(error: unknown): Promise<string> {
  const further = (error as { commitError?: Promise<unknown> }).commitError
  const reason =
    further === undefined
      ? error
      : await further.then(
          () => error,
          (cause: unknown) => cause,
        )
  return reason instanceof Error ? reason.message : String(reason)
}
