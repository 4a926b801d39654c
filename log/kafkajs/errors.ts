import { errorCodes } from 'kafkajs/src/protocol/error.js'
import { LogError, type LogErrorCode } from '../errors.ts'
import type { TopicPartition } from '../port.ts'

/** Kafka's error codes that are told apart here. */
export const KAFKA = {
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  notCoordinator: 16,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAlreadyExists: 36,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidTransactionState: 48,
  concurrentTransactions: 51,
  operationNotAttempted: 55,
  memberIdRequired: 79,
  unstableOffsetCommit: 88,
  producerFenced: 90,
  transactionalIdNotFound: 105,
} as const

/** Passing conditions: the same request may succeed later, perhaps at another broker. */
const PASSING: ReadonlySet<number> = new Set([
  3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 72, 74, 75, 77, 78, 88, 89, 100,
])

/** They pass within milliseconds, and are waited for often. */
const BRIEF: ReadonlySet<number> = new Set([KAFKA.concurrentTransactions, KAFKA.unstableOffsetCommit])

const LOG_CODES: Readonly<Record<number, LogErrorCode>> = {
  1: 'OFFSET_OUT_OF_RANGE',
  3: 'UNKNOWN_TOPIC',
  10: 'RECORD_TOO_LARGE',
  18: 'RECORD_TOO_LARGE',
  17: 'UNKNOWN_TOPIC',
  22: 'STALE_GENERATION',
  25: 'STALE_GENERATION',
  27: 'STALE_GENERATION',
  82: 'STALE_GENERATION',
  29: 'UNAUTHORIZED',
  30: 'UNAUTHORIZED',
  31: 'UNAUTHORIZED',
  33: 'UNAUTHORIZED',
  34: 'UNAUTHORIZED',
  53: 'UNAUTHORIZED',
  58: 'UNAUTHORIZED',
  61: 'UNAUTHORIZED',
  35: 'UNSUPPORTED_VERSION',
  76: 'UNSUPPORTED_VERSION',
  // An append of this producer went another way than it believes: only a new one can tell where things stand.
  45: 'OUTCOME_UNKNOWN',
  47: 'FENCED',
  90: 'FENCED',
  // The coordinator ended the transaction, or has forgotten the producer after a long silence.
  48: 'TRANSACTION_TIMED_OUT',
  49: 'TRANSACTION_TIMED_OUT',
  59: 'TRANSACTION_TIMED_OUT',
  105: 'TRANSACTION_TIMED_OUT',
  120: 'TRANSACTION_TIMED_OUT',
  56: 'STORAGE',
  57: 'STORAGE',
}

const ADVICE: Partial<Record<LogErrorCode, string>> = {
  UNKNOWN_TOPIC: 'create it, or mend its name',
  RECORD_TOO_LARGE:
    "raise the topic's max.message.bytes (and the broker's message.max.bytes), or make it smaller",
  STALE_GENERATION: 'drop the tasks and poll to join again',
  UNAUTHORIZED: 'grant it by an ACL (kafka-acls.sh), or mend the log-in',
  UNSUPPORTED_VERSION: 'upgrade the brokers',
  OUTCOME_UNKNOWN: 'discard the producer, open again and read where things stand',
  FENCED: 'another producer was initialised with this transactional id: stop writing, open again or stop',
  TRANSACTION_TIMED_OUT: 'discard the producer and open again',
  OFFSET_OUT_OF_RANGE: 'choose where to go on: nothing is reset silently',
}

/** No answer came: whether the request was carried out is unknown. The connection is gone. */
export class ConnectionLost extends Error {
  constructor(broker: string, what: string, cause?: unknown) {
    const reason = cause instanceof Error ? `: ${cause.message}` : ''
    super(`${what} at ${broker} got no answer${reason}`, { cause })
    this.name = 'ConnectionLost'
  }
}

/** Kafka answered that it cannot at the moment. */
export class PassingError extends Error {
  readonly kafkaCode: number
  /** What was asked of what. */
  readonly subject: string
  /** Passes within milliseconds. */
  readonly isBrief: boolean

  constructor(kafkaCode: number, subject: string) {
    super(`${subject}: ${kafkaText(kafkaCode)}`)
    this.name = 'PassingError'
    this.kafkaCode = kafkaCode
    this.subject = subject
    this.isBrief = BRIEF.has(kafkaCode)
  }
}

/** The cluster's metadata have no such topic or partition, or do not have it yet. */
export class UnknownTopic extends PassingError {
  /** It is known to be there, or was until just now. */
  readonly isNew: boolean

  constructor(subject: string, isNew: boolean) {
    super(KAFKA.unknownTopicOrPartition, subject)
    this.name = 'UnknownTopic'
    this.isNew = isNew
  }
}

/** What may be tried again, at another broker or later. */
export function isPassing(error: unknown): error is ConnectionLost | PassingError {
  return error instanceof ConnectionLost || error instanceof PassingError
}

/**
 * The error that one of Kafka's codes means: a {@link PassingError}, or a LogError that says what to do.
 * @param subject what was asked of what, as a sentence's beginning
 */
export function kafkaError(kafkaCode: number, subject: string): PassingError | LogError {
  return PASSING.has(kafkaCode) ? new PassingError(kafkaCode, subject) : finalError(kafkaCode, subject)
}

/** As {@link kafkaError}, where it has not passed. */
export function finalError(kafkaCode: number, subject: string, cause?: unknown): LogError {
  const code = LOG_CODES[kafkaCode] ?? (PASSING.has(kafkaCode) ? 'UNAVAILABLE' : 'INVALID_STATE')
  const advice = ADVICE[code]
  const text = `${subject}: ${kafkaText(kafkaCode)}${advice === undefined ? '' : `; ${advice}`}`
  return new LogError(code, text, { cause })
}

export function assertAccepted(kafkaCode: number, subject: string): void {
  if (kafkaCode !== 0) throw kafkaError(kafkaCode, subject)
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

/** Beyond KafkaJS's table. */
const NEWER_TEXTS: Readonly<Record<number, string>> = {
  89: 'THROTTLING_QUOTA_EXCEEDED (a quota is exceeded)',
  90: 'PRODUCER_FENCED (there is a newer producer with the same transactional id)',
  91: 'RESOURCE_NOT_FOUND',
  100: 'UNKNOWN_TOPIC_ID',
  105: 'TRANSACTIONAL_ID_NOT_FOUND',
  120: 'TRANSACTION_ABORTABLE (the transaction has to be aborted)',
}

function kafkaText(kafkaCode: number): string {
  const known = errorCodes.find(({ code }) => code === kafkaCode)
  if (known !== undefined) return `${known.type} (${known.message})`
  return NEWER_TEXTS[kafkaCode] ?? `Kafka's error ${kafkaCode}`
}
