/**
 * A format turns lines into values that a contract can check. Lines are split at newlines before a format
 * sees them: an unbalanced quote cannot swallow the file. Positions are uncompressed bytes of the file.
 */
export interface ParserOutput {
  /** A value in the shape that the contract describes, and where its record stands. */
  value(json: unknown, start: number, end: number): void
  reject(reason: string, field: string | null, start: number, end: number): void
}

/** Takes one file from a position on. */
export interface LineParser {
  /** Where the record begins that is not finished yet, or -1. */
  readonly pendingStart: number
  /**
   * The next line that is not blank.
   * @param text without its end; when there is a `problem`, its first bytes read as Latin-1
   * @param problem why the line cannot be read as text (not UTF-8, too long); null: it can
   */
  line(text: string, start: number, end: number, problem: string | null): void
  /** The input has ended behind a newline: so has the last record. */
  finish(): void
  /**
   * The input has ended within a line. Whether the line is a whole record, which was then put out; else
   * nothing was, and the unfinished record is left for when the file grows.
   */
  finishWithin(text: string, start: number, end: number): boolean
}

export interface Format {
  readonly name: string
  /** What is in such a file, for messages. */
  readonly description: string
  /** The first line must be this one; null: there is no header. */
  readonly header: string | null
  /** @param limits.maxRecordBytes a longer record is refused */
  parser(output: ParserOutput, limits: { readonly maxRecordBytes: number }): LineParser
}

export function tooLarge(bytes: number, maxRecordBytes: number): string {
  return `record too large (${bytes} bytes, limit ${maxRecordBytes})`
}
