/** What the caller has to do, not where it came from. */
export type LogErrorCode =
  /** Another producer has this transactional id: stop writing, open again or stop. */
  | 'FENCED'
  /** The group has moved on without this member: drop the tasks and poll to join again. */
  | 'STALE_GENERATION'
  /** The log timed the transaction out: discard the producer and open again. */
  | 'TRANSACTION_TIMED_OUT'
  /** It may or may not have been committed: discard the producer, open again, read where things stand. */
  | 'OUTCOME_UNKNOWN'
  /** The position is not in the log: stop and name the choices. */
  | 'OFFSET_OUT_OF_RANGE'
  | 'UNKNOWN_TOPIC'
  | 'RECORD_TOO_LARGE'
  /** The call does not fit the object's state: a bug of the caller. */
  | 'INVALID_STATE'
  /** The storage refused (disk full, disk broken): nothing of this call is acknowledged. */
  | 'STORAGE'
  /** What was written is not what is read: restore it from a copy. Trying again does not mend it. */
  | 'DAMAGED'
  /** Log-in or permission refused, or a certificate that is not trusted: trying again does not mend it. */
  | 'UNAUTHORIZED'
  /** The server is older than the least version that has what is needed. */
  | 'UNSUPPORTED_VERSION'
  /** No answer, though tried again for long: nothing of this call is acknowledged; it may be tried anew. */
  | 'UNAVAILABLE'
  /** Behind the same address stands another log, with other offsets: stop. */
  | 'CLUSTER_CHANGED'
  /** The log was closed under the call. */
  | 'CLOSED'

export class LogError extends Error {
  readonly code: LogErrorCode

  constructor(code: LogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LogError'
    this.code = code
  }
}
