import type { FieldDefinition } from '../../schemas/fields.ts'
import type { Cursor, CursorOptions } from '../files/cursor.ts'

/**
 * How records stand in a file. A text format cuts bytes into records' texts and reads those; a container
 * can only be opened by a library, which gives its records in order.
 */
export type Format = TextFormat | ContainerFormat

interface FormatName {
  readonly name: string
  /** What is in such a file, for messages. */
  readonly description: string
}

export interface TextFormat extends FormatName {
  readonly kind: 'text'
  parser(output: ParserOutput, options: ParserOptions): TextParser
}

export interface ContainerFormat extends FormatName {
  readonly kind: 'container'
  /** @throws SourceError FILE_FORMAT, FILE_HEADER, FILE_CHANGED */
  open(options: CursorOptions): Promise<Cursor>
}

export interface ParserOptions {
  /** For messages. */
  readonly path: string
  /** A longer record is refused. */
  readonly maxRecordBytes: number
  /** Of the contract; empty: not known. */
  readonly fields: readonly FieldDefinition[]
  /** Of CSV; null: found from the header. */
  readonly delimiter: string | null
  /** What the parser before this one remembered at this position; null: the file's beginning. */
  readonly state: string | null
}

/** Takes values in the shape that the contract describes. Positions are uncompressed bytes of the file. */
export interface ParserOutput {
  value(json: unknown, start: number, end: number): void
  reject(reason: string, field: string | null, start: number, end: number): void
}

/** Takes one file from a position on. */
export interface TextParser {
  /** Where the record begins that is not finished yet, or -1. */
  readonly pendingStart: number
  /** What has to be known, beside the position, to go on from here; stored with the position. */
  readonly state: string | null
  /** Whether a record can hold newlines. */
  readonly spansLines: boolean
  /**
   * The index of the one byte that ends the text at hand (a newline, or the format's own separator), or -1.
   * What was searched once is not searched again: the parser keeps what it learned.
   * @param from where the search goes on, within `bytes`
   * @param base file position of `bytes[0]`
   */
  endOf(bytes: Buffer, from: number, base: number): number
  /**
   * The text before that byte, unless it is blank.
   * @param text when there is a `problem`, its first bytes read as Latin-1
   * @param problem why it cannot be read as text (not UTF-8, too long); null: it can
   * @throws SourceError FILE_HEADER
   */
  record(text: string, start: number, end: number, problem: string | null): void
  /**
   * The text at hand has outgrown its bound, or the file ends in it. Whether it should rather be taken as
   * ending sooner: then it is searched again from its start.
   */
  cutShort(): boolean
  /** The input has ended behind a separator: so has the last record. */
  finish(): void
  /**
   * The input has ended within a text. Whether that is a whole record, which was then put out; else nothing
   * was, and it is left for when the file grows.
   * @param isFinal whether nobody waits for the file to grow
   */
  finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean
}

/** Refuses what no parser has to look at: a record above its bound, or one that cannot be read as text. */
export function isRefused(
  output: ParserOutput,
  maxRecordBytes: number,
  start: number,
  end: number,
  problem: string | null,
): boolean {
  const reason = end - start > maxRecordBytes ? tooLarge(end - start, maxRecordBytes) : problem
  if (reason === null) return false
  output.reject(reason, null, start, end)
  return true
}

export function tooLarge(bytes: number, maxRecordBytes: number): string {
  return `record too large (${bytes} bytes, limit ${maxRecordBytes})`
}

/** Why text is not JSON, in the parser's words. */
export function brokenJson(error: unknown): string {
  return `broken JSON: ${(error as Error).message}`
}
