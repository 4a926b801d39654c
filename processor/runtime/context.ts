import { partitionFor } from '../../log/partitioner.ts'
import { KEY_END, KEY_START, STRIDE, type BatchBuilder, type RecordBatch } from '../../log/batch.ts'
import type { Outputs } from './outputs.ts'

/** What goes with the value that is being processed. One object a task, rewritten for each record. */
export class RecordContext {
  readonly outputs: Outputs
  readonly partition: number
  eventTimeMs = 0
  /** The watermark that the record carries: what its own source partition had just before it. */
  watermarkMs = -Infinity
  /** The end mark that lies before the record in its source partition. */
  e = -Infinity
  ingestionMs = 0
  /** Wall clock, read once a batch. */
  nowMs = 0
  /** undefined: the key that the record came with; null: none. */
  keyText: string | null | undefined = undefined
  batch: RecordBatch | null = null
  index = 0

  constructor(outputs: Outputs, partition: number) {
    this.outputs = outputs
    this.partition = partition
  }

  /** Begins a record for `topic` with this record's key, in the partition where the key belongs. */
  beginRecord(topic: string, partitions: number): BatchBuilder {
    if (this.keyText === undefined && this.batch !== null) {
      const { buffer, positions } = this.batch
      const row = this.index * STRIDE
      const keyEnd = positions[row + KEY_END]!
      if (keyEnd >= 0) {
        const key = buffer.subarray(positions[row + KEY_START]!, keyEnd)
        return begin(this.outputs.builder(topic, partitionFor(key, partitions)), key)
      }
    }
    if (typeof this.keyText === 'string') {
      const key = Buffer.from(this.keyText, 'utf8')
      return begin(this.outputs.builder(topic, partitionFor(key, partitions)), key)
    }
    const builder = this.outputs.builder(topic, this.partition % partitions)
    builder.beginKey()
    builder.beginValue(true)
    return builder
  }
}

function begin(builder: BatchBuilder, key: Buffer): BatchBuilder {
  builder.beginKey()
  builder.writer.bytes(key)
  builder.beginValue()
  return builder
}
