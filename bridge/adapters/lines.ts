import {
  tooLarge,
  type ParserOptions,
  type ParserOutput,
  type TextFormat,
  type TextParser,
} from './format.ts'

const NEWLINE = 10

export interface LinesOptions {
  /** What is in such a file, for messages. Default `lines of a format of your own`. */
  readonly description?: string
}

/**
 * A format of your own: one record a line.
 * @param read a line (without its end) as a value in the contract's shape; null: the line holds no record, as a
 * comment does. What it throws becomes a dead letter of that line, with the error's message. It must give the same
 * for the same line: after a crash it may see it again.
 */
export function lines(read: (line: string) => unknown, options: LinesOptions = {}): TextFormat {
  const { description = 'lines of a format of your own' } = options
  return {
    kind: 'text',
    // Whoever registers it knows it by another.
    name: 'lines',
    description,
    parser: (output, settings) => new LinesParser(read, output, settings),
  }
}

class LinesParser implements TextParser {
  readonly pendingStart = -1
  readonly state = null
  readonly spansLines = false
  readonly #read: (line: string) => unknown
  readonly #output: ParserOutput
  readonly #maxRecordBytes: number

  constructor(read: (line: string) => unknown, output: ParserOutput, { maxRecordBytes }: ParserOptions) {
    this.#read = read
    this.#output = output
    this.#maxRecordBytes = maxRecordBytes
  }

  endOf(bytes: Buffer, from: number): number {
    return bytes.indexOf(NEWLINE, from)
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    const bytes = end - start
    if (bytes > this.#maxRecordBytes) {
      this.#output.reject(tooLarge(bytes, this.#maxRecordBytes), null, start, end)
    } else if (problem !== null) {
      this.#output.reject(problem, null, start, end)
    } else {
      this.#give(text.endsWith('\r') ? text.slice(0, -1) : text, start, end)
    }
  }

  cutShort(): boolean {
    return false
  }

  finish(): void {}

  /** A line may be whole without its end, and may not: nobody but the end of the input says so. */
  finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean {
    if (!isFinal) return false
    this.record(text, start, end, null)
    return true
  }

  #give(line: string, start: number, end: number): void {
    let value: unknown
    try {
      value = this.#read(line)
    } catch (error) {
      this.#output.reject(error instanceof Error ? error.message : String(error), null, start, end)
      return
    }
    if (value !== null) this.#output.value(value, start, end)
  }
}
