export type StackErrorCode =
  /** Something that must be installed first: the message says what, and how. */
  | 'MISSING_PROGRAM'
  /** A download or a build of a server failed; the end of its output is in the message. */
  | 'BUILD_FAILED'
  /** A server ended or stayed silent; the end of its log is in the message. */
  | 'START_FAILED'
  /** A command of the caller does not fit what is there. */
  | 'BAD_REQUEST'

/** What kept a server from starting, and what to do about it. */
export class StackError extends Error {
  override readonly name = 'StackError'
  readonly code: StackErrorCode

  constructor(code: StackErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
