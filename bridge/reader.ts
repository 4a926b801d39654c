/**
 * What a positional source (design §4) is to its writer: something that hands over values in order, and
 * says in the same breath from where it would go on.
 */
import type { SourceNotice } from './errors.ts'
import type { StoredRecord } from './positions.ts'

/** Where a value came from. Readers keep one and change it: it holds during the call only. */
export interface Origin {
  /** Dead letters carry it: the file's path, or `generator`. */
  source: string
  /** Uncompressed byte of the record's start, or the generator's index. */
  position: number
  /** Where the record begins in a text file, or its number in a container, from 1; null: not known. */
  line: number | null
  /** The record as it stood: `buffer` from `start` to `end`. */
  buffer: Buffer
  start: number
  end: number
  /** What it counts as input; of text, its length. */
  byteLength: number
  /** Event time of a value that has none of its own: the file's time, or the generator's schedule. */
  fallbackEventTimeMs: number
}

/** Takes values in the order of the source, without waiting. */
export interface RecordSink {
  /** A parsed JSON value; checked against the contract, which may make a dead letter of it. */
  value(json: unknown, origin: Origin): void
  /** What cannot be read as a value of the format at all. */
  reject(reason: string, field: string | null, origin: Origin): void
}

/** `more`: call again · `idle`: nothing to read now, `wait` · `done`: a finite source has ended. */
export type ReadState = 'more' | 'idle' | 'done'

export interface SourceReader {
  /** Reads on a bounded amount (about one chunk of input) into the sink. */
  read(sink: RecordSink, nowMs: number): Promise<ReadState>
  /** Resolves when it may be worth reading again, after `maxMs` at the latest, at once when aborted. */
  wait(maxMs: number, signal: AbortSignal): Promise<void>
  /**
   * The records from which a later reader goes on exactly behind what was handed to the sink; only those
   * that changed since the last call.
   */
  takePositions(): StoredRecord[]
  /** The reader's own promise, epoch ms: nothing with an earlier event time follows. null: none. */
  promiseMs(nowMs: number): number | null
  progress(): ReaderProgress
  close(): Promise<void>
}

export interface ReaderProgress {
  readonly files: readonly FileProgress[]
  /** Records made so far and wanted in all (null: no end), for a generator. */
  readonly generated?: { readonly index: number; readonly count: number | null }
}

export interface FileProgress {
  readonly path: string
  /** Uncompressed byte of the first unfinished record. */
  readonly position: number
  /** Bytes of the file as it lies on disk, and how many of them were read. */
  readonly size: number
  readonly consumed: number
}

export interface ReaderContext {
  /** The logical source's name. */
  readonly source: string
  /** What is stored of this source, by key; the reader picks its own. */
  readonly stored: ReadonlyMap<string, string>
  /** Whether the end of what is there now is the end. */
  readonly finite: boolean
  readonly nowMs: number
  /** Ends a long verification early; what `open` then gives is closed unread. */
  readonly signal: AbortSignal
  notice(notice: SourceNotice): void
}

/** What a source is bound to. Opened again after every error of the log, from the positions stored then. */
export interface SourceInput {
  /** One line for the user: what it is bound to. */
  readonly description: string
  /** Disorder of its own in ms, smaller than the contract's; null: the contract's. */
  readonly disorderMs: number | null
  /** Refuses what can be refused before anything runs. @throws SourceError */
  prepare(): Promise<void>
  /** @throws SourceError when what is stored does not fit what is there */
  open(context: ReaderContext): Promise<SourceReader>
}
