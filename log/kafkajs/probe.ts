/**
 * Looks at a cluster without using it: what the doctor asks. Nothing is retried for long, nothing is kept, and
 * nothing is written but a transaction that is begun and aborted with no partition of anybody's in it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { LogError } from '../errors.ts'
import { BrokerConnection, type Address, type ConnectionOptions } from './connection.ts'
import { findCoordinatorRequest } from './kafkajs-requests.ts'
import { authorizedOperationsRequest, type AuthorizedOperations } from './requests/authorization.ts'
import { describeConfigsRequest, type ConfigResource, type DescribedConfigs } from './requests/configs.ts'
import { describeTransactionRequest } from './requests/describe-transaction.ts'
import { metadataRequest, type ClusterMetadata } from './requests/metadata.ts'
import type { KafkaRequest } from './requests/request.ts'
import { addOffsetsToTxnRequest, endTxnRequest, initProducerIdRequest } from './requests/transactions.ts'

export interface ProbeOptions extends Omit<ConnectionOptions, 'clientId' | 'connectionTimeoutMs'> {
  /** `host:port`; asked in this order, until one answers. */
  readonly brokers: readonly string[]
  /** For connecting and logging in, and for each answer. Default 3,000. */
  readonly timeoutMs?: number
}

export interface TriedTransaction {
  /** What Kafka does not let us use. */
  readonly refused: 'transactional id' | 'group' | null
  /** What it said where that is not a matter of rights; 0: nothing. */
  readonly errorCode: number
  /** The coordinator's clock, read between two of our times, all epoch ms; null: it came not so far. */
  readonly clock: { readonly beforeMs: number; readonly brokerMs: number; readonly afterMs: number } | null
}

/** It passes: the coordinator is being found or loaded, or ends an earlier transaction. */
const PASSING: ReadonlySet<number> = new Set([14, 15, 16, 51])
const GROUP_DENIED = 30
const TRANSACTIONAL_ID_DENIED = 53
const TRIES = 20
const PAUSE_MS = 100
const TRANSACTION_TIMEOUT_MS = 10_000
const DEFAULT_TIMEOUT_MS = 3_000

export class KafkaProbe {
  readonly cluster: ClusterMetadata
  readonly #options: ProbeOptions
  readonly #address: Address
  readonly #connection: BrokerConnection
  readonly #others: BrokerConnection[] = []

  private constructor(
    options: ProbeOptions,
    address: Address,
    connection: BrokerConnection,
    cluster: ClusterMetadata,
  ) {
    this.#options = options
    this.#address = address
    this.#connection = connection
    this.cluster = cluster
  }

  /**
   * Connects to the first broker that lets us.
   * @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION
   */
  static async connect(options: ProbeOptions): Promise<KafkaProbe> {
    let failure: LogError | null = null
    for (const broker of options.brokers) {
      const address = addressOf(broker)
      let connection: BrokerConnection | null = null
      try {
        connection = await open(address, options)
        // An answer to this shows that we are let in: asking for versions needs no log-in.
        const cluster = await connection.send(metadataRequest([]), timeoutOf(options))
        return new KafkaProbe(options, address, connection, cluster)
      } catch (error) {
        connection?.close('It is of no use')
        const said = failureOf(error, options, connection !== null)
        // Who answers and refuses has more to say than who does not answer.
        if (failure === null || failure.code === 'UNAVAILABLE') failure = said
      }
    }
    throw failure ?? new LogError('UNAVAILABLE', 'No broker of Kafka is named')
  }

  /** @param waitMs what the broker may take on top. @throws ConnectionLost */
  ask<T>(request: KafkaRequest<T>, waitMs = 0): Promise<T> {
    return this.#connection.send(request, timeoutOf(this.#options) + waitMs)
  }

  topics(names: readonly string[]): Promise<ClusterMetadata> {
    return this.ask(metadataRequest(names))
  }

  operations(topics: readonly string[]): Promise<AuthorizedOperations> {
    return this.ask(authorizedOperationsRequest(topics))
  }

  /** Settings of topics, or of the broker that answers (whatever it is named here). */
  configs(
    resources: readonly (ConfigResource & { readonly names: readonly string[] })[],
  ): Promise<DescribedConfigs[]> {
    const own = String(this.#ownNode())
    return this.ask(
      describeConfigsRequest(
        resources.map((asked) => (asked.type === 'broker' ? { ...asked, name: own } : asked)),
      ),
    )
  }

  /**
   * Begins a transaction that would commit offsets of the group, asks when the coordinator thinks that it began,
   * and aborts it: the rights that every commit needs, and the broker's clock, with nothing written.
   * @param nowMs our clock, epoch ms
   */
  async tryTransaction(
    { transactionalId, groupId }: { readonly transactionalId: string; readonly groupId: string },
    nowMs: () => number,
  ): Promise<TriedTransaction> {
    const find = findCoordinatorRequest('transaction', transactionalId)
    const found = await settled(
      () => this.ask(find),
      ({ errorCode }) => errorCode,
    )
    if (found.errorCode !== 0) return failed(found.errorCode)
    const coordinator = await this.#connectTo(found.nodeId)
    const ask = <T>(request: KafkaRequest<T>): Promise<T> =>
      coordinator.send(request, timeoutOf(this.#options))

    const init = initProducerIdRequest({ transactionalId, transactionTimeoutMs: TRANSACTION_TIMEOUT_MS })
    const producer = await settled(
      () => ask(init),
      ({ errorCode }) => errorCode,
    )
    if (producer.errorCode !== 0) return failed(producer.errorCode)
    const identity = { ...producer, transactionalId }
    const addOffsets = async (): Promise<{ beforeMs: number; errorCode: number; afterMs: number }> => {
      const beforeMs = nowMs()
      const errorCode = await ask(addOffsetsToTxnRequest(identity, groupId))
      return { beforeMs, errorCode, afterMs: nowMs() }
    }
    const begun = await settled(addOffsets, ({ errorCode }) => errorCode)
    if (begun.errorCode !== 0) return failed(begun.errorCode)
    const { errorCode, startedMs } = await ask(describeTransactionRequest(transactionalId))
    const ended = await settled(
      () => ask(endTxnRequest(identity, false)),
      (code) => code,
    )
    const { beforeMs, afterMs } = begun
    const isTold = errorCode === 0 && startedMs > 0
    return {
      refused: null,
      errorCode: ended,
      clock: isTold ? { beforeMs, brokerMs: startedMs, afterMs } : null,
    }
  }

  close(): void {
    for (const connection of [this.#connection, ...this.#others]) connection.close('The doctor is done')
  }

  async #connectTo(nodeId: number): Promise<BrokerConnection> {
    const address = this.cluster.brokers.find((broker) => broker.nodeId === nodeId)
    if (address === undefined) {
      throw new LogError(
        'UNAVAILABLE',
        `Kafka names broker ${nodeId} as coordinator, and it is not among the brokers`,
      )
    }
    const connection = await open(address, this.#options)
    this.#others.push(connection)
    return connection
  }

  #ownNode(): number {
    const { host, port } = this.#address
    const { brokers, controllerId } = this.cluster
    const own = brokers.find((broker) => broker.host === host && broker.port === port)
    // Reached under another name, and with one broker that is the one.
    return (own ?? brokers[0])?.nodeId ?? controllerId
  }
}

function open(address: Address, options: ProbeOptions): Promise<BrokerConnection> {
  return BrokerConnection.open(address, {
    clientId: 'millrace-doctor',
    ssl: options.ssl,
    sasl: options.sasl,
    connectionTimeoutMs: timeoutOf(options),
  })
}

function addressOf(broker: string): Address {
  const colon = broker.lastIndexOf(':')
  return { host: broker.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(broker.slice(colon + 1)) }
}

function timeoutOf({ timeoutMs = DEFAULT_TIMEOUT_MS }: ProbeOptions): number {
  return timeoutMs
}

/** @param connected whether the connection was made, so that it was ended or left silent by the broker */
function failureOf(error: unknown, { sasl, ssl }: ProbeOptions, connected: boolean): LogError {
  if (error instanceof LogError) return error
  const said = error instanceof Error ? error.message : String(error)
  // A listener without TLS does not know what to make of its first bytes.
  const isHandshake = ssl !== null && /\b(TLS|SSL|EPROTO)\b/i.test(said)
  if (!connected && !isHandshake) return new LogError('UNAVAILABLE', said, { cause: error })
  const login = sasl === null ? 'without a log-in' : `with a log-in by ${sasl.mechanism}`
  const how = `${login} and ${ssl === null ? 'without' : 'with'} TLS`
  return new LogError('UNAUTHORIZED', `${said}: we came ${how}, and this listener may want it otherwise`, {
    cause: error,
  })
}

function failed(errorCode: number): TriedTransaction {
  if (errorCode === TRANSACTIONAL_ID_DENIED) return { refused: 'transactional id', errorCode: 0, clock: null }
  if (errorCode === GROUP_DENIED) return { refused: 'group', errorCode: 0, clock: null }
  return { refused: null, errorCode, clock: null }
}

async function settled<T>(ask: () => Promise<T>, codeOf: (answer: T) => number): Promise<T> {
  for (let tries = 1; ; tries++) {
    const answer = await ask()
    if (tries === TRIES || !PASSING.has(codeOf(answer))) return answer
    await sleep(PAUSE_MS)
  }
}
