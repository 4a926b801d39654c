import type { ProduceBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { IdempotentProducer } from '../port.ts'
import type { Client } from './client.ts'
import { assertAccepted } from './errors.ts'
import { PartitionSender, type SenderOptions } from './partition-sender.ts'
import { initProducerIdRequest } from './requests/transactions.ts'

/** Sends go one after another; one that fails is followed by a new producer id, so that its sequences cannot bite. */
export class KafkaIdempotentProducer implements IdempotentProducer {
  readonly #client: Client
  readonly #options: SenderOptions
  #sender: PartitionSender | null = null
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(client: Client, options: SenderOptions) {
    this.#client = client
    this.#options = options
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    if (this.#isClosed) throw new LogError('CLOSED', 'The idempotent producer was closed: make a new one')
    const result = this.#last.then(() => this.#send(batches))
    this.#last = result.catch(() => undefined)
    return result
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#last
  }

  async #send(batches: readonly ProduceBatch[]): Promise<number[]> {
    this.#sender ??= await this.#newSender()
    try {
      return await this.#sender.send(batches)
    } catch (error) {
      this.#sender = null
      throw error
    }
  }

  async #newSender(): Promise<PartitionSender> {
    // No transaction, so that the time-out means nothing.
    const request = initProducerIdRequest({ transactionalId: null, transactionTimeoutMs: 0 })
    const { producerId, producerEpoch } = await this.#client.retrying('Getting a producer id', async () => {
      const answer = await this.#client.sendToAny(request)
      assertAccepted(answer.errorCode, 'Getting a producer id')
      return answer
    })
    return new PartitionSender(
      this.#client,
      { transactionalId: null, producerId, producerEpoch },
      this.#options,
    )
  }
}
