export type SourceErrorCode =
  | 'FILE_MISSING'
  /** A path that ends as a directory's does, and is a file. */
  | 'FILE_IS_NO_DIRECTORY'
  | 'FILE_UNREADABLE'
  /** Known content under a known path has been replaced. */
  | 'FILE_CHANGED'
  /** A file is shorter than what was read of it. */
  | 'FILE_TRUNCATED'
  /** Its columns do not fit the format or the contract. */
  | 'FILE_HEADER'
  /** It is not in its format at all. */
  | 'FILE_FORMAT'
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
  readonly code:
    | 'FILE_RECOGNISED'
    | 'UNFINISHED_END'
    | 'FILE_DAMAGED'
    /** One of a watched directory is left alone until it changes. */
    | 'FILE_REFUSED'
    /** It is gone, with something unread in it. */
    | 'FILE_VANISHED'
    | 'NOT_REPLAYABLE'
    | 'RETRYING'
    | 'RECOVERED'
    | 'FENCED'
  readonly source: string
  readonly message: string
}
