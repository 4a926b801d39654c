/**
 * What lies between the parts of a simulated cluster: nothing here happens at once, and whoever
 * implements these two decides when it does, and whether. The cluster keeps no clock of its own.
 */

/** The cluster's own side: time, and what brokers do by themselves. */
export interface Wire {
  /** Epoch milliseconds. */
  nowMs(): number
  /** Something that the cluster does by itself before long: a marker, a step of cleaning. */
  soon(what: string, run: () => void): void
  /** … once this much time has passed. */
  after(ms: number, what: string, run: () => void): void
}

/** The effect of a request where it arrives; `reply` may be kept for later. It throws {@link Refusal}. */
export type Handler<A> = (reply: (answer: A | Refusal) => void) => void

/** One client process' way to servers, and its time. A process that has died never hears of anything again. */
export interface Connection {
  /** Epoch milliseconds. */
  nowMs(): number
  /** A number in [0, 1). */
  random(): number
  /** Resolves after `ms`, or at once when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /**
   * Sends a request: it arrives or not, has its effect, and its answer arrives or not.
   * @throws Refusal what the handler threw or replied with
   * @throws ConnectionLost where no answer came: it may have had its effect, or have it later still
   */
  request<A>(what: string, handler: Handler<A>): Promise<A>
}

/** How a client is set; times in milliseconds. See SimulatedLogOptions. */
export interface ClientSettings {
  readonly retries: number
  readonly heartbeatMs: number
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly transactionTimeoutMs: number
  readonly joinsFirst: boolean
}

/** What Kafka calls the answer when it does not do what was asked. */
export type RefusalCode =
  | 'CONCURRENT_TRANSACTIONS'
  | 'INVALID_PRODUCER_EPOCH'
  | 'INVALID_TXN_STATE'
  | 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  | 'ILLEGAL_GENERATION'
  | 'UNKNOWN_MEMBER_ID'
  | 'REBALANCE_IN_PROGRESS'
  | 'UNSTABLE_OFFSET_COMMIT'
  | 'OFFSET_OUT_OF_RANGE'
  | 'UNKNOWN_TOPIC_OR_PARTITION'
  | 'INVALID_TOPIC'

export class Refusal extends Error {
  readonly code: RefusalCode

  constructor(code: RefusalCode, message: string) {
    super(message)
    this.name = 'Refusal'
    this.code = code
  }
}

export class ConnectionLost extends Error {
  constructor(what: string) {
    super(`${what}: the connection broke before an answer came`)
    this.name = 'ConnectionLost'
  }
}
