import type { RecordBatch } from '../batch.ts'
import type { LogError } from '../errors.ts'
import type {
  GroupDescription,
  GroupConsumer,
  GroupConsumerOptions,
  IdempotentProducer,
  Log,
  LogAdmin,
  OffsetAndMetadata,
  PartitionOffsets,
  PartitionReader,
  TopicConfig,
  TopicDescription,
  TopicPartition,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../port.ts'
import type { Fetched, SimulatedCluster } from './cluster.ts'
import { SimulatedGroupConsumer } from './consumer.ts'
import { SimulatedIdempotentProducer, SimulatedTransactionalProducer } from './producers.ts'
import { logError, requested } from './retry.ts'
import type { ClientSettings, Connection, Handler } from './wire.ts'

export interface SimulatedLogOptions {
  /** How often a producer sends a request again whose answer did not come. Default 2. */
  readonly retries?: number
  /** How soon a member hears that its group has moved on. Default 500. */
  readonly heartbeatMs?: number
  /** Where the caller gives none. Default 10,000. */
  readonly sessionTimeoutMs?: number
  /** Longer than a member takes to finish and to join again. Default 60,000. */
  readonly rebalanceTimeoutMs?: number
  /** Where the caller gives none. Default 10,000. */
  readonly transactionTimeoutMs?: number
  /**
   * A member revokes when it has joined again, before it syncs, and not before it joins, as the port has it: its
   * generation is over while its last commit is under way. The protocol has to bear that too. Default false.
   */
  readonly joinsFirst?: boolean
}

const DEFAULTS: ClientSettings = {
  retries: 2,
  heartbeatMs: 500,
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 60_000,
  transactionTimeoutMs: 10_000,
  joinsFirst: false,
}

/** One process' client of a simulated cluster. */
export function connect(
  cluster: SimulatedCluster,
  connection: Connection,
  options: SimulatedLogOptions = {},
): Log {
  const dependencies = { cluster, connection, settings: { ...DEFAULTS, ...options } }
  return {
    admin: new SimulatedAdmin(cluster, connection),
    transactionalProducer: (asked: TransactionalProducerOptions): TransactionalProducer =>
      new SimulatedTransactionalProducer(dependencies, asked),
    idempotentProducer: (): IdempotentProducer => new SimulatedIdempotentProducer(dependencies),
    groupConsumer: (asked: GroupConsumerOptions): GroupConsumer =>
      new SimulatedGroupConsumer(dependencies, asked),
    partitionReader: (partition: TopicPartition, from: number): PartitionReader =>
      new SimulatedReader(cluster, connection, partition, from),
    close: () => Promise.resolve(),
  }
}

class SimulatedReader implements PartitionReader {
  position: number
  readonly #cluster: SimulatedCluster
  readonly #connection: Connection
  readonly #partition: TopicPartition

  constructor(cluster: SimulatedCluster, connection: Connection, partition: TopicPartition, from: number) {
    this.#cluster = cluster
    this.#connection = connection
    this.#partition = partition
    this.position = from
  }

  async read(maxBytes: number): Promise<RecordBatch | null> {
    const asked = [{ partition: this.#partition, from: this.position }]
    const [fetched] = await call<readonly Fetched[]>(
      this.#connection,
      `Fetch ${this.#partition.topic}-${this.#partition.partition}`,
      (reply) => this.#cluster.fetch(asked, maxBytes, 0, reply),
    )
    const { batch, nextOffset, refusal } = fetched!
    if (refusal !== null) throw logError(refusal) as LogError
    this.position = nextOffset
    return batch
  }

  async close(): Promise<void> {
    // Nothing is held.
  }
}

class SimulatedAdmin implements LogAdmin {
  readonly #cluster: SimulatedCluster
  readonly #connection: Connection

  constructor(cluster: SimulatedCluster, connection: Connection) {
    this.#cluster = cluster
    this.#connection = connection
  }

  clusterId(): Promise<string> {
    return this.#call('Metadata', () => this.#cluster.clusterId)
  }

  async createTopics(topics: readonly ({ name: string } & TopicConfig)[]): Promise<void> {
    await this.#call('CreateTopics', () => this.#cluster.createTopics(topics))
  }

  describeTopics(names: readonly string[]): Promise<(TopicDescription | null)[]> {
    return this.#call('Metadata', () =>
      names.map((name) => {
        const topic = this.#cluster.topic(name)
        return topic === undefined ? null : { name, topicId: topic.topicId, ...topic.config }
      }),
    )
  }

  listTopics(): Promise<string[]> {
    return this.#call('Metadata', () => [...this.#cluster.topics].map(({ name }) => name).sort())
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#call('DeleteTopics', () => this.#cluster.deleteTopic(name))
  }

  offsets(partitions: readonly TopicPartition[]): Promise<PartitionOffsets[]> {
    return this.#call('ListOffsets', () =>
      partitions.map((partition) => this.#cluster.partition(partition).offsets()),
    )
  }

  async deleteRecords(before: readonly (TopicPartition & { offset: number })[]): Promise<void> {
    await this.#call('DeleteRecords', () => {
      for (const { offset, ...partition } of before) this.#cluster.partition(partition).deleteBefore(offset)
    })
  }

  async describeGroups(groupIds: readonly string[]): Promise<GroupDescription[]> {
    const found: GroupDescription[] = []
    for (const groupId of groupIds) {
      found.push(await this.#call('DescribeGroups', () => this.#cluster.group(groupId).describe()))
    }
    return found
  }

  groupOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
  ): Promise<(OffsetAndMetadata | null)[]> {
    return this.#call('OffsetFetch', () => this.#cluster.group(groupId).fetch(partitions, false))
  }

  #call<A>(what: string, effect: () => A): Promise<A> {
    return call<A>(this.#connection, what, (reply) => reply(effect()))
  }
}

/** Reads and idempotent changes: asked until they are answered. */
async function call<A>(connection: Connection, what: string, handler: Handler<A>): Promise<A> {
  try {
    return await requested(connection, what, handler)
  } catch (error) {
    throw logError(error)
  }
}
