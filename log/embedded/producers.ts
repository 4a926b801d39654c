import type { ProduceBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type {
  GroupMetadata,
  IdempotentProducer,
  OffsetAndMetadata,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../port.ts'
import { Appender } from './appender.ts'
import type { LogCore } from './core.ts'
import { ProducerSession, type Transactions } from './transactions.ts'

export class EmbeddedTransactionalProducer implements TransactionalProducer {
  readonly #session: ProducerSession

  constructor(transactions: Transactions, options: TransactionalProducerOptions) {
    this.#session = new ProducerSession(transactions, options)
  }

  async init(): Promise<void> {
    await this.#session.init()
  }

  begin(): void {
    this.#session.begin()
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    return this.#session.transaction().appender.append(batches)
  }

  async sendOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    this.#session.transaction().addOffsets(offsets, group)
  }

  async commit(): Promise<void> {
    await this.#session.commit()
  }

  async abort(): Promise<void> {
    this.#session.abort()
  }

  async close(): Promise<void> {
    await this.#session.close()
  }
}

/** Every send is decided on its own; a call that returned is on disk, one that threw left nothing. */
export class EmbeddedIdempotentProducer implements IdempotentProducer {
  readonly #core: LogCore
  #closed = false

  constructor(core: LogCore) {
    this.#core = core
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    if (this.#closed) throw new LogError('CLOSED', 'The producer was closed: make a new one')
    this.#core.assertOpen()
    const appender = new Appender(this.#core)
    const offsets = appender.append(batches)
    await appender.commit([], () => undefined)
    return offsets
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}
