import type { BatchBuilder, ProduceBatch, RecordBatch } from '../batch.ts'
import type { TopicConfig, TopicPartition } from '../port.ts'
import { SimulatedGroup } from './group.ts'
import { SimulatedPartition, type Writer } from './partition.ts'
import { TransactionCoordinator, type ProducerIdentity } from './transactions.ts'
import { Refusal, type Wire } from './wire.ts'

export interface SimulatedTopic {
  readonly name: string
  readonly topicId: string
  readonly config: TopicConfig
  readonly partitions: readonly SimulatedPartition[]
}

/** What one partition gives to a fetch. */
export interface Fetched {
  readonly partition: TopicPartition
  readonly from: number
  readonly batch: RecordBatch | null
  readonly nextOffset: number
  readonly refusal: Refusal | null
}

/** What a producer sends with its records; `transactionalId` where they belong to a transaction. */
export interface ProduceRequest {
  readonly batch: ProduceBatch
  readonly sequence: number
}

/** Kafka's name rule. */
const TOPIC_NAME = /^[a-zA-Z0-9._-]{1,249}$/

/**
 * Kafka, as far as the log's port can tell: topics and partitions, the transaction coordinator, the
 * group coordinators. A request has its effect at once; everything before and after that (loss,
 * delay, order) is the {@link Wire}'s. A model of its own, written from the protocol: what it has in
 * common with the clients above it is the port alone.
 */
export class SimulatedCluster {
  readonly clusterId = 'simulated'
  readonly wire: Wire
  readonly transactions: TransactionCoordinator
  readonly #topics = new Map<string, SimulatedTopic>()
  readonly #groups = new Map<string, SimulatedGroup>()
  #topicIds = 0

  readonly #joinsBatches: boolean

  /** @param joinsBatches whether readers are given as many batches at a time as there are, joined. Default false */
  constructor(wire: Wire, { joinsBatches = false }: { readonly joinsBatches?: boolean } = {}) {
    this.wire = wire
    this.#joinsBatches = joinsBatches
    this.transactions = new TransactionCoordinator(wire)
  }

  get topics(): Iterable<SimulatedTopic> {
    return this.#topics.values()
  }

  topic(name: string): SimulatedTopic | undefined {
    return this.#topics.get(name)
  }

  /** @throws Refusal UNKNOWN_TOPIC_OR_PARTITION */
  partition({ topic, partition }: TopicPartition): SimulatedPartition {
    const found = this.#topics.get(topic)?.partitions[partition]
    if (found !== undefined) return found
    throw new Refusal(
      'UNKNOWN_TOPIC_OR_PARTITION',
      `There is no partition ${partition} of topic ${topic}: create the topic first`,
    )
  }

  group(groupId: string): SimulatedGroup {
    let group = this.#groups.get(groupId)
    if (group === undefined) this.#groups.set(groupId, (group = new SimulatedGroup(groupId, this.wire)))
    return group
  }

  createTopics(topics: readonly ({ name: string } & TopicConfig)[]): void {
    for (const { name, partitions, cleanup, retentionMs } of topics) {
      if (!TOPIC_NAME.test(name) || !(partitions >= 1)) {
        throw new Refusal('INVALID_TOPIC', `"${name}" with ${partitions} partitions cannot be a topic`)
      }
      if (this.#topics.has(name)) continue
      const config = { partitions, cleanup, retentionMs }
      this.#topics.set(name, {
        name,
        topicId: `topic-${++this.#topicIds}`,
        config,
        partitions: Array.from({ length: partitions }, (_, i) => new SimulatedPartition(name, i, config)),
      })
    }
  }

  deleteTopic(name: string): void {
    const topic = this.#topics.get(name)
    if (topic === undefined) {
      throw new Refusal('UNKNOWN_TOPIC_OR_PARTITION', `There is no topic ${name} to delete`)
    }
    this.#topics.delete(name)
    for (const partition of topic.partitions) partition.deleted = true
    for (const group of this.#groups.values()) group.forget(name)
  }

  /** @returns the first offset of each batch */
  produce(
    requests: readonly ProduceRequest[],
    identity: ProducerIdentity,
    transactionalId: string | null,
  ): number[] {
    const targets = requests.map(({ batch }) => this.partition(batch))
    if (transactionalId !== null) {
      for (const target of targets) this.transactions.assertPart(transactionalId, identity, target)
    }
    return requests.map(({ batch, sequence }, i) => {
      const writer: Writer = { ...identity, sequence, isTransactional: transactionalId !== null }
      return targets[i]!.append(batch, writer, Math.floor(this.wire.nowMs()))
    })
  }

  /** Records from outside of the simulation: acknowledged when this returns. */
  append(batches: readonly BatchBuilder[]): void {
    for (const batch of batches) {
      if (batch.count === 0) continue
      const identity = this.transactions.newProducerId()
      this.produce([{ batch, sequence: 0 }], identity, null)
    }
  }

  /** Answers as soon as there is something to give, at the latest when `maxWaitMs` is over. */
  fetch(
    positions: readonly { readonly partition: TopicPartition; readonly from: number }[],
    maxBytes: number,
    maxWaitMs: number,
    reply: (fetched: readonly Fetched[]) => void,
  ): void {
    const partitions = positions.map(({ partition }) => this.partition(partition))
    const isReady = (): boolean => positions.some(({ from }, i) => partitions[i]!.hasRecords(from))
    let isAnswered = false
    const answer = (): void => {
      if (isAnswered) return
      isAnswered = true
      for (const partition of partitions) partition.listeners.delete(look)
      reply(this.#read(positions, partitions, maxBytes))
    }
    const look = (): void => {
      if (isReady()) answer()
    }
    if (maxWaitMs <= 0 || isReady()) {
      answer()
      return
    }
    for (const partition of partitions) partition.listeners.add(look)
    this.wire.after(maxWaitMs, 'the end of a long poll', answer)
  }

  #read(
    positions: readonly { readonly partition: TopicPartition; readonly from: number }[],
    partitions: readonly SimulatedPartition[],
    maxBytes: number,
  ): Fetched[] {
    // An equal share each, so that a full partition starves no other.
    const share = Math.max(1, Math.floor(maxBytes / Math.max(1, positions.length)))
    return positions.map(({ partition, from }, i) => {
      try {
        return { partition, from, refusal: null, ...partitions[i]!.read(from, share, this.#joinsBatches) }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return { partition, from, batch: null, nextOffset: from, refusal: error }
      }
    })
  }
}
