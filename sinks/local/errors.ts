import { dirname } from 'node:path'
import { roomIn } from '../../config/disk.ts'
import { SinkError } from '../port.ts'

/**
 * DuckDB's errors carry their kind at the front of the message. These may be over at the next try: the disk was
 * full, a query took the memory. After a fatal one the database has to be opened again first.
 */
const TEMPORARY = /^(IO|Out of Memory|TransactionContext|Transaction|INTERRUPT|Connection|FATAL)\b/

/** What the runner can do something about: UNAVAILABLE where trying again may help, else the error as it is. */
export function sinkErrorOf(destination: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof SinkError) return error
  if (CHANGED.test(error.message)) return damagedFile(destination, error)
  // A file that has to be opened again may be held for a moment, or its disk be full.
  const mayOpenLater = error instanceof WarehouseError && error.code !== 'WAREHOUSE_DAMAGED'
  if (!mayOpenLater && !TEMPORARY.test(error.message)) return error
  const room = error.message.startsWith('IO') || /No space|write file/.test(error.message)
  const where = room ? ` (${roomIn(dirname(destination))})` : ''
  return new SinkError('UNAVAILABLE', `${destination} cannot be written: ${error.message}${where}.`, {
    cause: error,
  })
}

/** What is in the file is not what was written; unlike after a full disk, trying again does not mend it. */
const CHANGED = /not a valid DuckDB database|read enough bytes|corrupt|checksum/i

export function damagedFile(path: string, error: Error): WarehouseError {
  return new WarehouseError(
    'WAREHOUSE_DAMAGED',
    `${path} is damaged or no DuckDB file: ${error.message}. Restore it from a copy, or move it away together ` +
      `with its .wal file: the next run makes a new one and fills it from the log, as far as the log goes back.`,
    { cause: error },
  )
}

export type WarehouseErrorCode =
  /** There is no file yet: run the pipeline first. */
  | 'NO_WAREHOUSE'
  /** Another process has the file open: wait for it, or end it. */
  | 'WAREHOUSE_IN_USE'
  /** The file is no database that can be opened: restore it or move it away. */
  | 'WAREHOUSE_DAMAGED'
  /** The file cannot be read or written: see to its directory. */
  | 'WAREHOUSE_UNUSABLE'
  /** The statement is none that only reads. */
  | 'NOT_A_QUERY'
  /** DuckDB does not accept the query: mend its text. */
  | 'BAD_QUERY'
  /** It took too long, or too much memory. */
  | 'QUERY_TOO_LARGE'
  /** Too many at a time: try again. */
  | 'BUSY'
  /** The running process went away, or is not one of this version. */
  | 'NO_ANSWER'

export class WarehouseError extends Error {
  readonly code: WarehouseErrorCode

  constructor(code: WarehouseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'WarehouseError'
    this.code = code
  }
}
