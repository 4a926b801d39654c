import { LogError } from '../errors.ts'
import type { Change, SegmentStorage } from './storage.ts'

interface QueuedWrite {
  readonly changes: readonly Change[]
  readonly bytes: number
  readonly onDurable: () => void
  readonly resolve: () => void
  readonly reject: (error: LogError) => void
}

const MAX_GROUP_BYTES = 64 * 2 ** 20

/**
 * Writes in the order they come, one storage write at a time: what arrives while one is under way
 * goes into the next together, so that many commits share one sync. `onDurable` callbacks run in
 * the same order, before anybody's promise resolves: nothing is visible before it is on disk.
 */
export class GroupWriter {
  readonly #storage: SegmentStorage
  #queue: QueuedWrite[] = []
  #dirty = new Map<string, () => string>()
  #running: Promise<void> | null = null
  #bytesWritten = 0

  constructor(storage: SegmentStorage) {
    this.#storage = storage
  }

  get bytesWritten(): number {
    return this.#bytesWritten
  }

  /**
   * The entry goes, with the value that it has then, into the next write, and again into the one
   * after a failure. For what must not be behind the data that refers to it, but may be lost with it.
   */
  touch(entry: string, value: () => string): void {
    this.#dirty.set(entry, value)
  }

  forget(entry: string): void {
    this.#dirty.delete(entry)
  }

  /** @throws LogError STORAGE: nothing of it was written, and `onDurable` was not called */
  write(changes: readonly Change[], onDurable: () => void = () => undefined): Promise<void> {
    const bytes = changes.reduce((sum, { value }) => sum + (value === null ? 0 : value.length), 0)
    return new Promise((resolve, reject) => {
      this.#queue.push({ changes, bytes, onDurable, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when all that was asked for before, touched entries included, is written or refused. */
  async drain(): Promise<void> {
    while (this.#running !== null) await this.#running
    if (this.#dirty.size > 0) await this.write([])
  }

  async #run(): Promise<void> {
    // The turn's other writes come along.
    await Promise.resolve()
    while (this.#queue.length > 0) await this.#writeGroup(this.#takeGroup())
    this.#running = null
  }

  #takeGroup(): QueuedWrite[] {
    let size = 0
    let bytes = 0
    while (size < this.#queue.length && (size === 0 || bytes + this.#queue[size]!.bytes <= MAX_GROUP_BYTES)) {
      bytes += this.#queue[size]!.bytes
      size++
    }
    return this.#queue.splice(0, size)
  }

  async #writeGroup(group: readonly QueuedWrite[]): Promise<void> {
    const dirty = this.#dirty
    this.#dirty = new Map()
    const changes: Change[] = []
    for (const [entry, value] of dirty) changes.push({ entry, value: value() })
    for (const write of group) changes.push(...write.changes)
    try {
      await this.#storage.write(changes)
    } catch (error) {
      for (const [entry, value] of dirty) if (!this.#dirty.has(entry)) this.#dirty.set(entry, value)
      await this.#afterFailure(group, error)
      return
    }
    for (const write of group) {
      this.#bytesWritten += write.bytes
      write.onDurable()
    }
    for (const write of group) write.resolve()
  }

  /** One write that does not fit must not fail its neighbours. */
  async #afterFailure(group: readonly QueuedWrite[], error: unknown): Promise<void> {
    if (group.length > 1) {
      for (const write of group) await this.#writeGroup([write])
      return
    }
    const reason = error instanceof Error ? error.message : String(error)
    group[0]!.reject(
      new LogError(
        'STORAGE',
        `The log's storage refused a write of ${group[0]!.bytes} bytes (${reason}): nothing of it is kept.`,
        { cause: error },
      ),
    )
  }
}
