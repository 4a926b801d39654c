import { partitionFor } from '../../log/partitioner.ts'
import type { BatchBuilder, RecordBatch } from '../../log/batch.ts'
import type { Place } from '../windows/aggregates.ts'
import type { Outputs } from './outputs.ts'

/** What goes with the value that is being processed. One object a task, rewritten for each record. */
export class RecordContext implements Place {
  readonly outputs: Outputs
  readonly partition: number
  eventTimeMs = 0
  /** The watermark that the record carries: what its own source partition had just before it. */
  watermarkMs = -Infinity
  /** The end mark that lies before the record in its source partition. */
  e = -Infinity
  ingestionMs = 0
  origin = 0
  offset = 0
  ordinal = 0
  /** Wall clock, read once a batch. */
  nowMs = 0
  /** undefined: the key that the record came with; null: none. */
  keyText: string | null | undefined = undefined
  batch: RecordBatch | null = null
  index = 0
  /** The key of what an operator has made. */
  #key: Buffer = Buffer.alloc(0)
  #keyStart = 0
  #keyEnd = 0

  constructor(outputs: Outputs, partition: number) {
    this.outputs = outputs
    this.partition = partition
  }

  /** What an operator has made goes on under a key of its own: the bytes in [start, end). */
  useKey(bytes: Buffer, start: number, end: number): void {
    this.keyText = undefined
    this.batch = null
    this.#key = bytes
    this.#keyStart = start
    this.#keyEnd = end
  }

  /** As `useKey`. @param key null: none */
  useKeyText(key: string | null): void {
    this.keyText = key
    this.batch = null
  }

  /** Begins a record for `topic` with this record's key, in the partition where the key belongs. */
  beginRecord(topic: string, partitions: number): BatchBuilder {
    const key = this.#keyBytes()
    if (key === null) {
      const builder = this.outputs.builder(topic, this.partition % partitions)
      builder.beginKey()
      builder.beginValue(true)
      return builder
    }
    const builder = this.outputs.builder(topic, partitionFor(key, partitions))
    builder.beginKey()
    builder.writer.range(key, 0, key.length)
    builder.beginValue()
    return builder
  }

  #keyBytes(): Buffer | null {
    if (this.keyText === null) return null
    if (this.keyText !== undefined) return Buffer.from(this.keyText, 'utf8')
    return this.batch === null
      ? this.#key.subarray(this.#keyStart, this.#keyEnd)
      : this.batch.keyAt(this.index)
  }
}
