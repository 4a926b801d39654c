import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { systemClock, systemTimer, type Clock, type Timer } from '../../config/clock.ts'
import { LogError } from '../errors.ts'
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
} from '../port.ts'
import { KafkaAdmin } from './admin.ts'
import { Client } from './client.ts'
import type { Address, SaslOptions } from './connection.ts'
import { Coordinators } from './coordinators.ts'
import { KafkaGroupConsumer, type ConsumerOptions } from './group-consumer.ts'
import { KafkaIdempotentProducer } from './idempotent-producer.ts'
import { KafkaPartitionReader } from './partition-reader.ts'
import type { SenderOptions } from './partition-sender.ts'
import type { Compression } from './record-batch/compression.ts'
import { Troubles } from './retry.ts'
import { KafkaTransactionalProducer } from './transactional-producer.ts'

export type { Address, SaslOptions } from './connection.ts'
export type { Compression } from './record-batch/compression.ts'

export interface KafkaLogOptions {
  /** `host:port` of one broker at least; the others are found through it. */
  readonly brokers: readonly string[]
  /** As the brokers' logs and quotas name this client. Default `millrace`. */
  readonly clientId?: string
  /** TLS, as node:tls takes it; true: with the system's authorities. Default: none. */
  readonly ssl?: true | TlsOptions
  /** Default: no log-in. */
  readonly sasl?: SaslOptions
  /** Of what is written; anything is read. Default `none`. */
  readonly compression?: Compression
  /** For connecting and logging in. Default 10,000. */
  readonly connectionTimeoutMs?: number
  /** A broker that does not answer for so long is taken for gone, and connected to anew. Default 10,000. */
  readonly requestTimeoutMs?: number
  /** So long is tried again what fails in passing, before it is UNAVAILABLE. Default 60,000. */
  readonly retryTimeoutMs?: number
  /** Of group members, unless they say otherwise. Default 10,000. */
  readonly sessionTimeoutMs?: number
  /** A member that does not poll for so long leaves its group. Default 300,000. */
  readonly maxPollIntervalMs?: number
  /** So often a group looks whether its topics have more partitions than it shared out. Default 30,000. */
  readonly metadataMaxAgeMs?: number
  /** About so much of a partition's records makes one batch on the wire. Default 1,000,000 (brokers take 1 MiB). */
  readonly maxBatchBytes?: number
  /** The largest record that topics made here take. Default 16 MiB. */
  readonly maxRecordBytes?: number
  /** Fetched ahead by one consumer. Default 32 MiB. */
  readonly maxBufferedBytes?: number
  /** How long a broker holds a fetch for which it has nothing. Default 100. */
  readonly fetchMaxWaitMs?: number
  /** Where a broker is reached that names this as its address: for tunnels and forwarded ports. Default: there. */
  readonly route?: (address: Address) => Address
  /**
   * Aborted, no call waits for brokers that do not answer: connecting ends at once, and so does everything as soon
   * as Kafka is not reached, with CLOSED. While it answers, what is under way can be finished.
   */
  readonly signal?: AbortSignal
  /** Told once when Kafka does not answer, and once when it does again. */
  readonly report?: (message: string) => void
  /** Stamps what is written to topics that keep their producers' times. Default: the system's. */
  readonly clock?: Clock
  readonly timer?: Timer
  /** In [0, 1). Default: Math.random. */
  readonly random?: () => number
}

const MIB = 1024 * 1024

/**
 * A log on Kafka 3.0 or newer.
 * @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION, INVALID_STATE (an option that cannot be),
 *   CLOSED (the signal)
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const closing = new AbortController()
  const report = options.report ?? ((): void => {})
  const troubles = new Troubles(report)
  const client = new Client({
    brokers: options.brokers.map(parseAddress),
    clientId: options.clientId ?? 'millrace',
    ssl: options.ssl === true ? {} : (options.ssl ?? null),
    sasl: options.sasl ?? null,
    connectionTimeoutMs: options.connectionTimeoutMs ?? 10_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    retryTimeoutMs: options.retryTimeoutMs ?? 60_000,
    route: options.route ?? ((address): Address => address),
    clock: options.clock ?? systemClock,
    retry: {
      timer: options.timer ?? systemTimer,
      random: options.random ?? Math.random,
      closing: closing.signal,
      troubles,
    },
  })
  const end = (): void => {
    closing.abort()
    client.close()
  }
  const { signal } = options
  signal?.addEventListener('abort', end, { signal: closing.signal })
  if (signal?.aborted === true) end()
  try {
    await client.connect()
  } catch (error) {
    end()
    throw error
  }
  signal?.removeEventListener('abort', end)
  signal?.addEventListener('abort', () => troubles.whenAny(end), { signal: closing.signal })
  return new KafkaLog(client, closing, options, report)
}

class KafkaLog implements Log {
  readonly admin: LogAdmin
  readonly #client: Client
  readonly #coordinators: Coordinators
  readonly #closing: AbortController
  readonly #sender: SenderOptions
  readonly #consumer: ConsumerOptions

  constructor(
    client: Client,
    closing: AbortController,
    options: KafkaLogOptions,
    report: (message: string) => void,
  ) {
    this.#client = client
    this.#closing = closing
    this.#coordinators = new Coordinators(client)
    this.admin = new KafkaAdmin(client, this.#coordinators, {
      maxRecordBytes: options.maxRecordBytes ?? 16 * MIB,
    })
    this.#sender = {
      compression: options.compression ?? 'none',
      maxBatchBytes: options.maxBatchBytes ?? 1_000_000,
      maxRequestBytes: 8 * MIB,
    }
    this.#consumer = {
      sessionTimeoutMs: options.sessionTimeoutMs ?? 10_000,
      maxPollIntervalMs: options.maxPollIntervalMs ?? 300_000,
      metadataMaxAgeMs: options.metadataMaxAgeMs ?? 30_000,
      fetchMaxWaitMs: options.fetchMaxWaitMs ?? 100,
      partitionFetchBytes: MIB,
      fetchBytes: 8 * MIB,
      maxBufferedBytes: options.maxBufferedBytes ?? 32 * MIB,
      report,
    }
  }

  transactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    return new KafkaTransactionalProducer(this.#client, this.#coordinators, options, this.#sender)
  }

  idempotentProducer(): IdempotentProducer {
    return new KafkaIdempotentProducer(this.#client, this.#sender)
  }

  groupConsumer(options: GroupConsumerOptions): GroupConsumer {
    return new KafkaGroupConsumer(this.#client, this.#coordinators, options, this.#consumer)
  }

  partitionReader(partition: TopicPartition, from: number): PartitionReader {
    return new KafkaPartitionReader(this.#client, partition, from, this.#consumer.partitionFetchBytes)
  }

  /** What is under way fails with CLOSED. Producers and consumers are to be closed before. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#client.close()
  }
}

function parseAddress(text: string): Address {
  const match = /^(?:\w+:\/\/)?(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text.trim())
  if (match === null) {
    throw new LogError('INVALID_STATE', `"${text}" is no Kafka address: give host:port, e.g. localhost:9092`)
  }
  return { host: match[1] ?? match[2]!, port: Number(match[3]) }
}
