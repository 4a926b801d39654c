import { BatchBuilder, ByteWriter, type ProduceBatch } from '../log/batch.ts'
import { partitionFor } from '../log/partitioner.ts'
import { encodeMark, MARK_HEADERS, type Mark } from '../schemas/marks.ts'
import type { StoredRecord } from './positions.ts'

export interface Destinations {
  /** The source's own topic. */
  readonly topic: string
  readonly partitions: number
  readonly deadLetters: string
  /** Of the dead-letter topic: one source's dead letters keep their order in it. */
  readonly deadLettersPartition: number
  readonly positions: string
  readonly positionsPartition: number
}

/** Buffers that one huge record blew up are not kept for the next transaction. */
const KEPT_BYTES = 4 << 20
const KEY_VIEWS = 257

/** What one transaction of one source will hold; filled without waiting, then sent whole. */
export class TransactionContent {
  readonly deadLetters: BatchBuilder
  readonly #data: BatchBuilder[]
  readonly #positions: BatchBuilder
  /** The key at hand, and views over its first n bytes: the partitioner wants a view, and a new one costs. */
  readonly #key = new ByteWriter(1024)
  readonly #keyViews: (Buffer | undefined)[] = []
  records = 0

  constructor(to: Destinations) {
    this.#data = Array.from(
      { length: to.partitions },
      (_, partition) => new BatchBuilder(to.topic, partition),
    )
    this.deadLetters = new BatchBuilder(to.deadLetters, to.deadLettersPartition)
    this.#positions = new BatchBuilder(to.positions, to.positionsPartition)
  }

  get isEmpty(): boolean {
    return this.records === 0 && this.#positions.count === 0 && this.#data.every(({ count }) => count === 0)
  }

  get byteLength(): number {
    let bytes = this.deadLetters.byteLength
    for (const builder of this.#data) bytes += builder.byteLength
    return bytes
  }

  /** Begins a record in the key's partition: the caller writes its value, then ends or abandons it. */
  begin(key: string): BatchBuilder {
    const bytes = this.#keyBytes(key)
    const builder =
      this.#data.length === 1 ? this.#data[0]! : this.#data[partitionFor(bytes, this.#data.length)]!
    builder.beginKey()
    builder.writer.bytes(bytes)
    builder.beginValue()
    return builder
  }

  /** A mark behind the data of every partition. */
  markAll(mark: Mark): void {
    const value = encodeMark(mark)
    for (const builder of this.#data) builder.append(null, value, MARK_HEADERS)
  }

  store({ key, value }: StoredRecord): void {
    this.#positions.append(Buffer.from(key), Buffer.from(value))
  }

  batches(): ProduceBatch[] {
    return [...this.#data, this.deadLetters, this.#positions].filter(({ count }) => count > 0)
  }

  clear(): void {
    this.records = 0
    for (const builder of [...this.#data, this.deadLetters, this.#positions]) {
      builder.clear()
      if (builder.buffer.length > KEPT_BYTES) builder.writer.buffer = Buffer.allocUnsafeSlow(4096)
    }
  }

  #keyBytes(key: string): Uint8Array {
    const writer = this.#key
    const before = writer.buffer
    writer.position = 0
    writer.utf8(key)
    if (writer.buffer !== before) this.#keyViews.length = 0
    const length = writer.position
    if (length >= KEY_VIEWS) return writer.buffer.subarray(0, length)
    return (this.#keyViews[length] ??= writer.buffer.subarray(0, length))
  }
}
