export type SourceErrorCode =
  | 'FILE_MISSING'
  | 'FILE_IS_DIRECTORY'
  | 'FILE_UNREADABLE'
  /** Known content under a known path has been replaced. */
  | 'FILE_CHANGED'
  /** A file is shorter than what was read of it. */
  | 'FILE_TRUNCATED'
  | 'FILE_HEADER'
  | 'UNKNOWN_FORMAT'
  | 'BAD_SOURCE'
  /** A topic that a source writes is not there. */
  | 'SOURCE_TOPIC_MISSING'
  /** Somebody else writes as this application without being in its group. */
  | 'SOURCE_FENCED'
  /** What the positions topic holds is not ours. */
  | 'BAD_POSITION_RECORD'

/** A source that cannot run as it was asked to; nothing of the refused input was written. */
export class SourceError extends Error {
  readonly code: SourceErrorCode

  constructor(code: SourceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SourceError'
    this.code = code
  }
}

/** Something that the user should hear of and that stops nothing. */
export interface SourceNotice {
  readonly code: 'FILE_RECOGNISED' | 'UNFINISHED_END' | 'FILE_DAMAGED' | 'RETRYING' | 'RECOVERED' | 'FENCED'
  readonly source: string
  readonly message: string
}
