import { LogError } from '../errors.ts'
import { ConnectionLost, Refusal, type Connection, type Handler } from './wire.ts'

const FIRST_RETRY_MS = 5
const LONGEST_RETRY_MS = 500

/** What a client does with requests that may safely be sent again. */
export interface RetryOptions {
  /** How often it is sent again where no answer came. Default: until it is answered. */
  readonly retries?: number
  /** Refusals that end by themselves. */
  readonly waitsFor?: readonly Refusal['code'][]
  /** Told of each time that no answer came. */
  readonly onLost?: () => void
  /** Looked at before it is sent again: whoever asked has gone. */
  readonly isGone?: () => boolean
}

/**
 * Sends a request until it is answered.
 * @throws Refusal, ConnectionLost
 */
export async function requested<A>(
  connection: Connection,
  what: string,
  handler: Handler<A>,
  { retries = Infinity, waitsFor = [], onLost, isGone }: RetryOptions = {},
): Promise<A> {
  let lost = 0
  for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)) {
    try {
      return await connection.request(what, handler)
    } catch (error) {
      if (error instanceof ConnectionLost) onLost?.()
      const isWaiting = error instanceof Refusal && waitsFor.includes(error.code)
      if (!isWaiting && !(error instanceof ConnectionLost && lost++ < retries)) throw error
      if (isGone?.() === true) throw error
    }
    await connection.sleep(waitMs)
  }
}

/** The port's word for what went wrong. */
export function logError(error: unknown): unknown {
  if (error instanceof ConnectionLost) {
    return new LogError('OUTCOME_UNKNOWN', `${error.message}: it may or may not have been done`, {
      cause: error,
    })
  }
  if (!(error instanceof Refusal)) return error
  return new LogError(codeOf(error.code), error.message, { cause: error })
}

function codeOf(code: Refusal['code']): LogError['code'] {
  switch (code) {
    case 'INVALID_PRODUCER_EPOCH':
      return 'FENCED'
    case 'ILLEGAL_GENERATION':
    case 'UNKNOWN_MEMBER_ID':
    case 'REBALANCE_IN_PROGRESS':
      return 'STALE_GENERATION'
    case 'OFFSET_OUT_OF_RANGE':
      return 'OFFSET_OUT_OF_RANGE'
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return 'UNKNOWN_TOPIC'
    case 'INVALID_TOPIC':
      return 'INVALID_STATE'
    case 'CONCURRENT_TRANSACTIONS':
    case 'INVALID_TXN_STATE':
    case 'OUT_OF_ORDER_SEQUENCE_NUMBER':
    case 'UNSTABLE_OFFSET_COMMIT':
      return 'OUTCOME_UNKNOWN'
  }
}
