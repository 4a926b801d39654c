import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { PartitionReader, TopicPartition } from '../port.ts'
import type { LogCore } from './core.ts'
import type { Partition } from './partition.ts'

export class EmbeddedPartitionReader implements PartitionReader {
  readonly #core: LogCore
  readonly #name: TopicPartition
  #partition: Partition | null = null
  #position: number
  #closed = false

  constructor(core: LogCore, partition: TopicPartition, from: number) {
    this.#core = core
    this.#name = partition
    this.#position = from
  }

  get position(): number {
    return this.#position
  }

  async read(maxBytes: number): Promise<RecordBatch | null> {
    if (this.#closed) {
      throw new LogError('CLOSED', `The reader of ${this.#name.topic}-${this.#name.partition} was closed`)
    }
    const partition = (this.#partition ??= this.#core.partition(this.#name))
    const batch = this.#core.read(partition, this.#position, maxBytes)
    // Below the last stable offset all is decided: what is empty there stays empty, so who waits for
    // the position to reach that offset gets there past aborted records too.
    this.#position = batch?.nextOffset ?? Math.max(this.#position, partition.stable)
    return batch
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}
