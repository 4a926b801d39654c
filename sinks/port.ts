/**
 * The interface of all sinks. One conformance suite (test/contract/sink.ts) holds for every one of them, and
 * one runner (runner.ts) drives them: it owns batching, retries, back-pressure, dead letters and commits.
 *
 * What a destination must give for "effectively once" is a place to keep the position with the rows (DuckDB:
 * one transaction; BigQuery: a stream's row count) or writes that change nothing when they are repeated
 * (Bigtable, GCS). One that has neither says so with `keepsPositions: false` and is written at least once.
 */
import type { RecordBatch } from '../log/batch.ts'
import type { Schema } from '../schemas/schema.ts'

/** How far a destination has a topic-partition. An offset means something in one incarnation of a topic only. */
export interface Position {
  /** The first offset that is not in the destination. */
  readonly next: number
  /** `<cluster id>/<topic id>`. */
  readonly incarnation: string
}

/** Rows of one fetched batch, all written with one schema. */
export interface RowSpan {
  readonly records: RecordBatch
  /** What the records were written with; the destination's own schema may have other fields. */
  readonly schema: Schema
  /** The rows: indexes into `records`, rising. `count` of them are in use. */
  readonly indexes: Int32Array
  readonly count: number
}

/** Consecutive rows of one topic-partition, in offset order. Marks and dead letters in between are left out. */
export interface RowBatch {
  readonly topic: string
  readonly partition: number
  readonly incarnation: string
  /** Where the destination stands: the `next` of the write before, else what `recover` gave. null: nowhere. */
  readonly base: number | null
  /** Where it stands once this is durable. At least the last row's offset + 1. */
  readonly next: number
  readonly spans: readonly RowSpan[]
  /** Rows in all spans together. */
  readonly count: number
  /** Bytes of the values of these rows. */
  readonly bytes: number
}

/** A topic-partition that is handed to this sink, and what its group has committed for it. */
export interface Assignment {
  readonly topic: string
  readonly partition: number
  readonly incarnation: string
  /** What a `write` or `recover` of this sink gave to be kept with the committed offset, or null. */
  readonly note: string | null
}

export interface Recovered {
  /** What is durable, or null: nothing of this partition. Ignored when the sink keeps no positions. */
  readonly position: Position | null
  /**
   * To be committed before the first write, where it is not what the assignment said (BigQuery: the name of
   * the stream about to be written).
   */
  readonly note: string | null
}

/** A sink of a table with a `key` replaces the row of equal key by the later one; within a batch the last stays. */
export interface Sink {
  /** Names the destination in the group id, in positions and in errors: `dataset.table`. */
  readonly destination: string
  /** False: a destination that cannot tell what it holds; the committed offsets count, rows may come twice. */
  readonly keepsPositions: boolean
  /** Appends of one partition that may be in flight at once, each resolving on its own. */
  readonly maxWritesInFlight: number

  /**
   * Creates the destination or verifies it.
   * @returns what was changed, one line each (`created`, `added column x`); empty when all was there
   * @throws SinkError DRIFT when it exists and does not fit
   */
  prepare(): Promise<readonly string[]>
  /**
   * Takes partitions over: from here on a write by an earlier owner must not add anything. In the order given.
   * @throws SinkError UNAVAILABLE to be called again
   */
  recover(assigned: readonly Assignment[]): Promise<readonly Recovered[]>
  /**
   * Resolves when the rows and the position are durable; until then nothing may be taken for written.
   * After UNAVAILABLE the outcome is unknown: the runner recovers before it writes again.
   * The rows' buffers may be used until it settles. `count` may be 0: the position moves alone.
   * @returns the note to be committed with the position, or null
   * @throws RowsRefused, with nothing of the batch written
   * @throws SinkError UNAVAILABLE to be tried again, STALE_POSITION when the destination is not at `base`
   */
  write(batch: RowBatch): Promise<string | null>
  /**
   * The input has ended, and all of it is written: does what it has put off in case more should come.
   * @throws SinkError UNAVAILABLE to be called again
   */
  flush?(): Promise<void>
  close(): Promise<void>
}

export type SinkErrorCode =
  /** The destination exists with another shape: change the one or the other. */
  | 'DRIFT'
  /** For now; the same call may work later. The runner repeats it. */
  | 'UNAVAILABLE'
  /** Somebody else has written this partition: recover, and go on from there. The runner does. */
  | 'STALE_POSITION'
  /** Destination and log do not belong together: stop and choose. */
  | 'POSITION_MISMATCH'
  /** Rows that the destination lacks are no longer in the log: stop and choose. */
  | 'ROWS_GONE'
  /** A dead letter cannot be written as a dead letter: stop. */
  | 'DEAD_LETTER_REFUSED'
  /** The destination cannot be used as it is (damaged, held by another process): stop. */
  | 'UNUSABLE'

export class SinkError extends Error {
  readonly code: SinkErrorCode

  constructor(code: SinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SinkError'
    this.code = code
  }
}

/** A row that the destination cannot hold, ever. */
export interface RefusedRow {
  /** Of the row within its batch. */
  readonly index: number
  readonly reason: string
  /** The field that is to blame, or null. */
  readonly field: string | null
}

/** Nothing of the batch was written; `rows` names the first row that was refused and any others found. */
export class RowsRefused extends Error {
  readonly code = 'ROWS_REFUSED'
  /** In order, one or more. */
  readonly rows: readonly RefusedRow[]

  constructor(destination: string, rows: readonly RefusedRow[]) {
    const first = rows[0]
    super(`${destination} refuses ${rows.length} rows, the first because ${first?.reason ?? 'of nothing'}`)
    this.name = 'RowsRefused'
    this.rows = rows
  }
}
