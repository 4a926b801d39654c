import { LogError } from '../../errors.ts'

export interface BatchPlace {
  readonly topic: string
  readonly partition: number
  /** Where the batch begins; while its own word for that cannot be trusted, where the reader stands. */
  readonly offset: number
}

/**
 * Fetched bytes that are no whole, undamaged batch of records, or more than may be held. Nothing of the
 * fetch was given on. Codes: STORAGE where the bytes contradict themselves or cannot be read,
 * RECORD_TOO_LARGE where they exceed a bound.
 */
export class RecordBatchError extends LogError {
  readonly topic: string
  readonly partition: number
  readonly offset: number

  constructor(
    at: BatchPlace,
    what: string,
    options: ErrorOptions & { code?: 'STORAGE' | 'RECORD_TOO_LARGE'; doNext?: string } = {},
  ) {
    const { code = 'STORAGE', doNext = DAMAGED } = options
    super(code, `${at.topic}-${at.partition}, offset ${at.offset}: ${what}. ${doNext}`, options)
    this.name = 'RecordBatchError'
    this.topic = at.topic
    this.partition = at.partition
    this.offset = at.offset
  }
}

const DAMAGED =
  "Fetch it again; if that gives the same, the broker's copy is damaged: restore it from a replica, or skip " +
  'it by setting the position behind it, which loses what it holds'
