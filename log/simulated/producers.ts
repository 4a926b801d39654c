import type { ProduceBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type {
  GroupMetadata,
  IdempotentProducer,
  OffsetAndMetadata,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../port.ts'
import type { SimulatedCluster } from './cluster.ts'
import { nameOf } from './group.ts'
import type { Decision } from './partition.ts'
import { logError, requested, type RetryOptions } from './retry.ts'
import type { ProducerIdentity } from './transactions.ts'
import type { ClientSettings, Connection } from './wire.ts'

/** How many brokers the partitions are spread over: a send is one request to each. */
const BROKERS = 2
const CONCURRENT: RetryOptions = { waitsFor: ['CONCURRENT_TRANSACTIONS'] }

interface Dependencies {
  readonly cluster: SimulatedCluster
  readonly connection: Connection
  readonly settings: ClientSettings
}

/** Numbers the records of each partition, so that a request that is sent again is appended once. */
class Sequences {
  readonly #next = new Map<string, number>()

  take(batch: ProduceBatch): number {
    const name = nameOf(batch)
    const sequence = this.#next.get(name) ?? 0
    this.#next.set(name, sequence + batch.count)
    return sequence
  }
}

/** As the Java client does it, with KIP-447; one transaction at a time. */
export class SimulatedTransactionalProducer implements TransactionalProducer {
  readonly #dependencies: Dependencies
  readonly #id: string
  readonly #timeoutMs: number
  #identity: ProducerIdentity | null = null
  #sequences = new Sequences()
  #state: 'idle' | 'open' | 'failed' | 'closed' = 'idle'
  #failure: unknown = null
  #added = new Set<string>()
  /** The coordinator knows of the transaction. */
  #isOngoing = false
  #sinceMs = 0
  /** A request of this epoch was sent again: the first one may still be on its way. */
  #mayBeLate = false

  constructor(dependencies: Dependencies, options: TransactionalProducerOptions) {
    this.#dependencies = dependencies
    this.#id = options.transactionalId
    this.#timeoutMs = options.transactionTimeoutMs ?? dependencies.settings.transactionTimeoutMs
  }

  async init(): Promise<void> {
    const { cluster, connection } = this.#dependencies
    this.#identity = await requested<ProducerIdentity>(
      connection,
      `InitProducerId ${this.#id}`,
      (reply) => reply(cluster.transactions.initProducerId(this.#id, this.#timeoutMs)),
      CONCURRENT,
    )
    this.#sequences = new Sequences()
    this.#mayBeLate = false
  }

  begin(): void {
    this.#assert('idle', 'begin')
    this.#state = 'open'
    this.#added = new Set()
    this.#isOngoing = false
    this.#sinceMs = this.#dependencies.connection.nowMs()
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    this.#assert('open', 'send')
    const { cluster } = this.#dependencies
    return this.#attempt(async (identity) => {
      const filled = batches.map(copyOf)
      for (const batch of filled) cluster.partition(batch)
      const added = filled.filter((batch) => !this.#added.has(nameOf(batch)))
      if (added.length > 0) {
        this.#isOngoing = true
        await this.#request(`AddPartitionsToTxn ${this.#id}`, () =>
          cluster.transactions.addPartitions(
            this.#id,
            identity,
            added.map((batch) => cluster.partition(batch)),
          ),
        )
        for (const batch of added) this.#added.add(nameOf(batch))
      }
      return produce(filled, this.#sequences, (requests, broker) =>
        this.#request(`Produce ${this.#id} at ${broker}`, () =>
          cluster.produce(requests, identity, this.#id),
        ),
      )
    })
  }

  async sendOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    this.#assert('open', 'sendOffsets')
    const { cluster } = this.#dependencies
    const taken = offsets.map((offset) => ({ ...offset }))
    await this.#attempt(async (identity) => {
      this.#isOngoing = true
      await this.#request(`AddOffsetsToTxn ${this.#id}`, () =>
        cluster.transactions.addOffsets(this.#id, identity, cluster.group(group.groupId)),
      )
      await this.#request(`TxnOffsetCommit ${this.#id} generation ${group.generation}`, () => {
        const target = cluster.group(group.groupId)
        cluster.transactions.assertPart(this.#id, identity, target)
        target.commitInTransaction(taken, group, identity.producerId)
      })
    })
  }

  async commit(): Promise<void> {
    this.#assert('open', 'commit')
    await this.#end('commit')
  }

  async abort(): Promise<void> {
    if (this.#state === 'failed') return
    this.#assert('open', 'abort')
    await this.#end('abort')
  }

  async close(): Promise<void> {
    const wasOpen = this.#state === 'open' || this.#state === 'failed'
    this.#state = 'closed'
    const identity = this.#identity
    if (!wasOpen || !this.#isOngoing || identity === null) return
    const { cluster, connection } = this.#dependencies
    // A courtesy: what it does not reach ends by its time-out.
    const ended = connection.request<null>(`EndTxn abort ${this.#id}, closing`, (reply) => {
      cluster.transactions.end(this.#id, identity, 'abort')
      reply(null)
    })
    await ended.catch(() => undefined)
  }

  async #end(decision: Decision): Promise<void> {
    await this.#attempt(async (identity) => {
      const { cluster } = this.#dependencies
      if (!this.#isOngoing) return
      await this.#request(`EndTxn ${decision} ${this.#id}`, () =>
        cluster.transactions.end(this.#id, identity, decision),
      )
    })
    // KIP-890's hazard: a late EndTxn would end the next transaction half-way. A new epoch refuses it.
    if (this.#mayBeLate) await this.init()
    this.#state = 'idle'
  }

  /** After any error nothing more goes through this producer. */
  async #attempt<A>(action: (identity: ProducerIdentity) => Promise<A>): Promise<A> {
    if (this.#identity === null) throw outOfTurn(this.#id, 'used before init')
    try {
      return await action(this.#identity)
    } catch (error) {
      const ageMs = this.#dependencies.connection.nowMs() - this.#sinceMs
      let failure = logError(error)
      // Kafka calls a transaction that it timed out fenced; its age tells the two apart.
      if (failure instanceof LogError && failure.code === 'FENCED' && ageMs >= this.#timeoutMs) {
        failure = new LogError(
          'TRANSACTION_TIMED_OUT',
          `The transaction of ${this.#id} was open for ${ageMs} ms, and was ended by the log`,
          { cause: error },
        )
      }
      if (this.#state === 'open') this.#state = 'failed'
      this.#failure = failure
      throw failure
    }
  }

  #request<A>(what: string, effect: () => A): Promise<A> {
    const { connection, settings } = this.#dependencies
    return requested<A>(connection, what, (reply) => reply(effect()), {
      ...CONCURRENT,
      retries: settings.retries,
      onLost: () => (this.#mayBeLate = true),
    })
  }

  #assert(state: 'idle' | 'open', call: string): void {
    if (this.#state === 'failed') throw this.#failure as Error
    if (this.#state !== state) throw outOfTurn(this.#id, `${call} while it is ${this.#state}`)
  }
}

/** Retries never duplicate; there is no transaction. */
export class SimulatedIdempotentProducer implements IdempotentProducer {
  readonly #dependencies: Dependencies
  readonly #sequences = new Sequences()
  #identity: ProducerIdentity | null = null
  #closed = false

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    if (this.#closed) throw new LogError('CLOSED', 'The producer was closed: make a new one')
    const { cluster, connection } = this.#dependencies
    const filled = batches.map(copyOf)
    try {
      for (const batch of filled) cluster.partition(batch)
      const identity = (this.#identity ??= await requested<ProducerIdentity>(
        connection,
        'InitProducerId',
        (reply) => reply(cluster.transactions.newProducerId()),
      ))
      return await produce(filled, this.#sequences, (requests, broker) =>
        requested<number[]>(connection, `Produce at ${broker}`, (reply) =>
          reply(cluster.produce(requests, identity, null)),
        ),
      )
    } catch (error) {
      throw logError(error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}

/** One request to each broker that leads some of the partitions; all are over when it returns or throws. */
async function produce(
  batches: readonly ProduceBatch[],
  sequences: Sequences,
  send: (requests: { batch: ProduceBatch; sequence: number }[], broker: number) => Promise<number[]>,
): Promise<number[]> {
  const offsets = new Array<number>(batches.length)
  const rows = batches.map((batch, index) => ({ batch, index, sequence: sequences.take(batch) }))
  const outcomes = await Promise.allSettled(
    Array.from({ length: BROKERS }, async (_, broker) => {
      const led = rows.filter(({ batch }) => leaderOf(batch) === broker)
      if (led.length === 0) return
      const firsts = await send(led, broker)
      led.forEach(({ index }, i) => (offsets[index] = firsts[i]!))
    }),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason as Error
  return offsets
}

function leaderOf({ topic, partition }: ProduceBatch): number {
  return (topic.length + partition) % BROKERS
}

/** The caller may fill its builder again before the last retry has gone. */
function copyOf({ topic, partition, buffer, byteLength, positions, count }: ProduceBatch): ProduceBatch {
  return {
    topic,
    partition,
    buffer: Buffer.from(buffer.subarray(0, byteLength)),
    byteLength,
    positions: positions.slice(),
    count,
  }
}

function outOfTurn(id: string, what: string): LogError {
  return new LogError('INVALID_STATE', `The producer of ${id} was called out of turn: ${what}`)
}
