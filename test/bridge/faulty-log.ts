import type { ReaderContext, SourceInput, SourceReader } from '../../bridge/reader.ts'
import { LogError } from '../../log/errors.ts'
import type {
  GroupConsumer,
  GroupConsumerOptions,
  IdempotentProducer,
  Log,
  LogAdmin,
  PartitionReader,
  TopicPartition,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../../log/port.ts'

/** What happens at the n-th call of a producer (init, send or commit), counted from 1. */
export interface Fault {
  readonly atCall: number
  /** `crash`: the process is gone · `error`: the outcome is unknown to the caller, who goes on. */
  readonly kind: 'crash' | 'error'
  /** Whether the call has taken effect before. */
  readonly after: boolean
}

/** A log whose user dies, or loses an answer, at a chosen step. */
export class FaultyLog implements Log {
  readonly #log: Log
  readonly #fault: Fault | null
  readonly #delayMs: number
  readonly #crash = Promise.withResolvers<void>()
  #calls = 0
  #dead = false
  readonly #consumers: GroupConsumer[] = []

  /** @param delayMs how long each call of a producer takes at least */
  constructor(log: Log, fault: Fault | null, delayMs = 0) {
    this.#log = log
    this.#delayMs = delayMs
    this.#fault = fault
  }

  /** Resolves when the process has died; its group has noticed by then. */
  get crashed(): Promise<void> {
    return this.#crash.promise
  }

  get admin(): LogAdmin {
    return this.#log.admin
  }

  transactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    const producer = this.#log.transactionalProducer(options)
    return {
      init: () => this.#step(() => producer.init()),
      begin: () => {
        if (!this.#dead) producer.begin()
      },
      send: (batches) => this.#step(() => producer.send(batches)),
      sendOffsets: (offsets, group) => this.#step(() => producer.sendOffsets(offsets, group)),
      commit: () => this.#step(() => producer.commit()),
      abort: () => this.#alive(() => producer.abort()),
      close: () => this.#alive(() => producer.close()),
    }
  }

  idempotentProducer(): IdempotentProducer {
    throw new Error('sources have no use for it')
  }

  groupConsumer(options: GroupConsumerOptions): GroupConsumer {
    const consumer = this.#log.groupConsumer({
      ...options,
      onRevoke: (partitions) => (this.#dead ? Promise.resolve() : options.onRevoke(partitions)),
    })
    this.#consumers.push(consumer)
    return consumer
  }

  partitionReader(partition: TopicPartition, from: number): PartitionReader {
    return this.#log.partitionReader(partition, from)
  }

  async close(): Promise<void> {}

  async #step<T>(call: () => Promise<T>): Promise<T> {
    const fault = ++this.#calls === this.#fault?.atCall ? this.#fault : null
    if (this.#delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#delayMs))
    if (fault === null) return this.#alive(call)
    if (fault.after) await call()
    if (fault.kind === 'error') throw new LogError('OUTCOME_UNKNOWN', 'the answer was lost')
    this.#dead = true
    for (const consumer of this.#consumers) await consumer.close()
    this.#crash.resolve()
    return forever()
  }

  #alive<T>(call: () => Promise<T>): Promise<T> {
    return this.#dead ? forever() : call()
  }
}

function forever<T>(): Promise<T> {
  return new Promise(() => undefined)
}

/** An input whose files are closed as a dead process' are. */
export class MortalInput implements SourceInput {
  readonly #input: SourceInput
  readonly #readers: SourceReader[] = []

  constructor(input: SourceInput) {
    this.#input = input
  }

  get description(): string {
    return this.#input.description
  }

  get disorderMs(): number | null {
    return this.#input.disorderMs
  }

  prepare(): Promise<void> {
    return this.#input.prepare()
  }

  async open(context: ReaderContext): Promise<SourceReader> {
    const reader = await this.#input.open(context)
    this.#readers.push(reader)
    return reader
  }

  async close(): Promise<void> {
    for (const reader of this.#readers) await reader.close()
  }
}
