import type { FieldDefinition } from '../../schemas/fields.ts'
import type { RecordSink } from '../reader.ts'
import type { PrefixHash } from './prefix-hash.ts'

/** Reads one file from a position on. */
export interface Cursor {
  /** Of what is finished; its length is the position. Of a container that is read by number: of all of it. */
  readonly prefix: PrefixHash
  /** Lines of text, or records of a container, before the position. */
  readonly lines: number
  /** What the format wants to know again at this position. */
  readonly state: string | null
  /** Whether everything that was there is part of a finished record. */
  readonly isDrained: boolean
  readonly isGzip: boolean
  /** Bytes of the file as it lies on disk that were read so far. */
  readonly consumed: number
  /** What ended the file early; null while it is sound. */
  readonly damage: string | null
  /** Reads a bounded amount into the sink; false at the end of what is there now. */
  read(sink: RecordSink): Promise<boolean>
  /**
   * Takes the end of the input for the end of the file: finishes the last record, if it is whole.
   * @param isFinal whether nobody waits for the file to grow
   * @returns bytes behind the last finished record, which were left unread
   */
  finish(sink: RecordSink, isFinal: boolean): number
  close(): Promise<void>
}

export interface CursorOptions {
  /** As messages and dead letters name the file. */
  readonly path: string
  /** Of what precedes the position. */
  readonly prefix: PrefixHash
  /** As the cursor before this one had them at this position. */
  readonly lines: number
  readonly state: string | null
  readonly fileTimeMs: number
  readonly limits: CursorLimits
  /** Of the contract; empty: not known. */
  readonly fields: readonly FieldDefinition[]
  /** Of CSV; null: found from the header. */
  readonly csvDelimiter: string | null
}

export interface CursorLimits {
  readonly maxRecordBytes: number
  /** What a dead letter keeps of a record at most; no less than `maxRecordBytes`. */
  readonly maxPayloadBytes: number
  /** Read at once. */
  readonly chunkBytes: number
}
