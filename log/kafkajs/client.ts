import type { Clock } from '../../config/clock.ts'
import { LogError } from '../errors.ts'
import type { TopicPartition } from '../port.ts'
import { BrokerConnection, type Address, type ConnectionOptions } from './connection.ts'
import { ConnectionLost, KAFKA, kafkaError, nameOf, UnknownTopic } from './errors.ts'
import { metadataRequest, type ClusterMetadata, type TopicMetadata } from './requests/metadata.ts'
import type { KafkaRequest } from './requests/request.ts'
import { Retry, type RetryOptions } from './retry.ts'

export interface ClientOptions extends ConnectionOptions {
  readonly brokers: readonly Address[]
  /** Without an answer by then, beyond what the request itself waits for, the connection is closed. */
  readonly requestTimeoutMs: number
  /** So long is tried again what fails. */
  readonly retryTimeoutMs: number
  readonly route: (address: Address) => Address
  readonly clock: Clock
  readonly retry: RetryOptions
}

export interface Leader {
  readonly nodeId: number
  readonly epoch: number
}

/** For requests that are answered at once. Who waits long at the broker has a lane of its own. */
export const MAIN_LANE = 'main'

interface KnownTopic {
  readonly topicId: string
  readonly leaders: readonly Leader[]
}

const NO_LEADER = -1
/** KafkaJS's words where the other side ended the connection. */
const CLOSED = /Closed connection/

/**
 * The cluster: who leads what, and connections to its brokers, one a broker and lane, made when first used and made
 * again when lost. Everything here may fail in passing; {@link retrying} is what tries again.
 */
export class Client {
  readonly options: ClientOptions
  readonly #connections = new Map<string, Promise<BrokerConnection>>()
  readonly #topics = new Map<string, KnownTopic>()
  /** By `performance.now()`; when the controller said that the topic is there. */
  readonly #createdMs = new Map<string, number>()
  readonly #firstSeenMs = new Map<string, number>()
  #nodes = new Map<number, Address>()
  #clusterId: string | null = null
  #controllerId = -1
  #changed: LogError | null = null
  readonly #closeListeners = new Set<() => void>()

  constructor(options: ClientOptions) {
    this.options = options
  }

  /** @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION */
  async connect(): Promise<void> {
    try {
      await this.retrying('Connecting to Kafka', () => this.metadata([]))
    } catch (error) {
      throw error instanceof LogError && CLOSED.test(error.message) ? this.#closedBy(error) : error
    }
  }

  /** Brokers close a connection without a word when TLS or log-in are not as they want them. */
  #closedBy(error: LogError): LogError {
    const { ssl, sasl } = this.options
    const how = `${ssl === null ? 'without TLS' : 'by TLS'} and ${sasl === null ? 'without a log-in' : `logging in by ${sasl.mechanism}`}`
    return new LogError(
      error.code,
      `${error.message}. It was spoken to ${how}: check that this listener wants it so`,
      { cause: error },
    )
  }

  get clusterId(): string {
    if (this.#clusterId === null) throw new LogError('INVALID_STATE', 'The client is not connected yet')
    return this.#clusterId
  }

  get controllerId(): number {
    return this.#controllerId
  }

  get isClosing(): boolean {
    return this.options.retry.closing.aborted
  }

  retry(what: string, timeoutMs = this.options.retryTimeoutMs): Retry {
    return new Retry(what, timeoutMs, this.options.retry)
  }

  /** Tries again what fails in passing. @throws LogError */
  async retrying<T>(what: string, attempt: () => Promise<T>, timeoutMs?: number): Promise<T> {
    const retry = this.retry(what, timeoutMs)
    for (;;) {
      try {
        const result = await attempt()
        retry.succeeded()
        return result
      } catch (error) {
        await retry.pause(error)
      }
    }
  }

  /**
   * @param waitMs what the broker may take on top for the request's own sake
   * @throws ConnectionLost
   */
  async send<Result>(
    nodeId: number,
    lane: string,
    request: KafkaRequest<Result>,
    waitMs = 0,
  ): Promise<Result> {
    const address = this.#nodes.get(nodeId)
    if (address === undefined)
      throw new ConnectionLost(`node ${nodeId}, which is unknown`, request.request.apiName)
    const connection = await this.#connection(address, lane)
    return connection.send(request, this.options.requestTimeoutMs + waitMs)
  }

  /** Closes the lane's connections, with what waits on them. */
  closeLane(lane: string): void {
    for (const [key, connection] of this.#connections) {
      if (key.startsWith(`${lane}@`))
        void connection.then(
          (open) => open.close('It was closed'),
          () => undefined,
        )
    }
  }

  /** @returns what takes the listener back */
  whenClosing(listener: () => void): () => void {
    this.#closeListeners.add(listener)
    return () => this.#closeListeners.delete(listener)
  }

  close(): void {
    for (const listener of this.#closeListeners) listener()
    for (const connection of this.#connections.values()) {
      void connection.then(
        (open) => open.close('The log was closed'),
        () => undefined,
      )
    }
    this.#connections.clear()
  }

  /** The leaders, in the order asked. @throws PassingError, also where there is no such topic or partition */
  async leaders(partitions: readonly TopicPartition[]): Promise<Leader[]> {
    const missing = new Set<string>()
    for (const partition of partitions)
      if (this.leaderIfKnown(partition) === null) missing.add(partition.topic)
    if (missing.size > 0) await this.topics([...missing])
    return partitions.map((partition) => {
      const leader = this.#topics.get(partition.topic)?.leaders[partition.partition]
      const subject = `Partition ${nameOf(partition)}`
      if (leader === undefined) throw new UnknownTopic(subject, false)
      if (leader.nodeId === NO_LEADER) throw kafkaError(KAFKA.leaderNotAvailable, subject)
      return leader
    })
  }

  leaderIfKnown({ topic, partition }: TopicPartition): Leader | null {
    const leader = this.#topics.get(topic)?.leaders[partition]
    return leader === undefined || leader.nodeId === NO_LEADER ? null : leader
  }

  topicIdIfKnown(topic: string): string | null {
    return this.#topics.get(topic)?.topicId ?? null
  }

  /** Asks anew about the topic when it is next used. */
  forget(topic: string): void {
    this.#topics.delete(topic)
  }

  /** It is there, whatever a broker says that has not heard of it yet. */
  created(topic: string): void {
    this.#createdMs.set(topic, performance.now())
  }

  deleted(topic: string): void {
    this.forget(topic)
    this.#createdMs.delete(topic)
    this.#firstSeenMs.delete(topic)
  }

  /** Said to be there so short a time ago that a broker may not have heard of it. */
  wasJustCreated(topic: string): boolean {
    return this.#isRecent(this.#createdMs.get(topic))
  }

  /** Fresh from a broker. `topics` null: all there are. @throws ConnectionLost, LogError CLUSTER_CHANGED */
  async metadata(topics: readonly string[] | null): Promise<ClusterMetadata> {
    if (this.#changed !== null) throw this.#changed
    const metadata = await this.sendToAny(metadataRequest(topics))
    this.#learn(metadata)
    return metadata
  }

  /** Of topics that must exist, in the order asked. @throws PassingError */
  async topics(names: readonly string[]): Promise<TopicMetadata[]> {
    const { topics } = await this.metadata(names)
    const byName = new Map(topics.map((topic) => [topic.name, topic]))
    return names.map((name) => {
      const topic = byName.get(name)
      const errorCode = topic?.errorCode ?? KAFKA.unknownTopicOrPartition
      if (errorCode === KAFKA.unknownTopicOrPartition) {
        const isNew = this.wasJustCreated(name) || this.#isRecent(this.#firstSeenMs.get(name))
        throw new UnknownTopic(`Topic ${name}`, isNew)
      }
      if (errorCode !== 0) throw kafkaError(errorCode, `Topic ${name}`)
      return topic!
    })
  }

  /** To whichever broker answers. @throws ConnectionLost where none does */
  async sendToAny<Result>(request: KafkaRequest<Result>): Promise<Result> {
    const known = [...this.#nodes.values(), ...this.options.brokers]
    const addresses = new Map(known.map((address) => [`${address.host}:${address.port}`, address]))
    // Whoever is connected already first; then from a random one on, so that not all ask the same.
    const keys = [...addresses.keys()]
    const start = Math.floor(this.options.retry.random() * keys.length)
    const rotated = [...keys.slice(start), ...keys.slice(0, start)]
    const isConnected = (key: string): boolean => this.#connections.has(`${MAIN_LANE}@${key}`)
    const order = [...rotated.filter(isConnected), ...rotated.filter((key) => !isConnected(key))]
    let lost: unknown
    for (const key of order) {
      try {
        const connection = await this.#connection(addresses.get(key)!, MAIN_LANE)
        return await connection.send(request, this.options.requestTimeoutMs)
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
        lost = error
      }
    }
    throw lost
  }

  /** No request goes to a broker before it has said which cluster it is of. */
  async #open(address: Address): Promise<BrokerConnection> {
    const connection = await BrokerConnection.open(
      this.options.route(address),
      this.options,
      this.options.retry.closing,
    )
    const { clusterId } = await connection.send(metadataRequest([]), this.options.requestTimeoutMs)
    this.#clusterId ??= clusterId
    if (clusterId !== this.#clusterId) {
      connection.close('It is of another cluster')
      throw this.#clusterChanged(String(clusterId))
    }
    if (this.isClosing) connection.close('The log was closed')
    return connection
  }

  #learn(metadata: ClusterMetadata): void {
    this.#controllerId = metadata.controllerId
    this.#nodes = new Map(metadata.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    for (const { name, errorCode, topicId, partitions } of metadata.topics) {
      if (errorCode !== 0 || topicId === null) {
        this.#topics.delete(name)
        continue
      }
      const leaders: Leader[] = []
      for (const { partition, leader, leaderEpoch } of partitions) {
        leaders[partition] = { nodeId: leader, epoch: leaderEpoch }
      }
      this.#topics.set(name, { topicId, leaders })
      if (!this.#firstSeenMs.has(name)) this.#firstSeenMs.set(name, performance.now())
    }
  }

  #isRecent(sinceMs: number | undefined): boolean {
    return sinceMs !== undefined && performance.now() - sinceMs < this.options.retryTimeoutMs
  }

  #clusterChanged(clusterId: string): LogError {
    this.#changed = new LogError(
      'CLUSTER_CHANGED',
      `Behind ${this.options.brokers.map(({ host, port }) => `${host}:${port}`).join(', ')} stands cluster ${clusterId} ` +
        `now, and not ${this.#clusterId!} any more: its offsets are others. Mend the address, or start afresh with state of its own`,
    )
    this.close()
    return this.#changed
  }

  async #connection(address: Address, lane: string): Promise<BrokerConnection> {
    if (this.isClosing) throw new LogError('CLOSED', 'The log was closed: open it again')
    if (this.#changed !== null) throw this.#changed
    const key = `${lane}@${address.host}:${address.port}`
    const existing = this.#connections.get(key)
    if (existing !== undefined) {
      const connection = await existing
      if (connection.isOpen) return connection
      // Several may wait here: the first of them makes the new one.
      if (this.#connections.get(key) === existing) this.#connections.delete(key)
      return this.#connection(address, lane)
    }
    const opening = this.#open(address)
    this.#connections.set(key, opening)
    try {
      return await opening
    } catch (error) {
      this.#connections.delete(key)
      throw error
    }
  }
}
