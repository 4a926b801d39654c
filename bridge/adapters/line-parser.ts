import { isRefused, type ParserOptions, type ParserOutput, type TextParser } from './format.ts'

const NEWLINE = 10

/** Of formats whose records are a line each: no line says anything of another. */
export abstract class LineParser implements TextParser {
  readonly pendingStart = -1
  readonly state = null
  readonly spansLines = false
  protected readonly output: ParserOutput
  protected readonly maxRecordBytes: number

  constructor(output: ParserOutput, { maxRecordBytes }: ParserOptions) {
    this.output = output
    this.maxRecordBytes = maxRecordBytes
  }

  endOf(bytes: Buffer, from: number): number {
    return bytes.indexOf(NEWLINE, from)
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    if (!isRefused(this.output, this.maxRecordBytes, start, end, problem)) this.give(text, start, end)
  }

  cutShort(): boolean {
    return false
  }

  finish(): void {}

  abstract finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean

  /** Puts out what the line holds, or why it holds no record. */
  protected abstract give(text: string, start: number, end: number): void
}
