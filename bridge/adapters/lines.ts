import type { ParserOptions, ParserOutput, TextFormat } from './format.ts'
import { LineParser } from './line-parser.ts'

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

class LinesParser extends LineParser {
  readonly #read: (line: string) => unknown

  constructor(read: (line: string) => unknown, output: ParserOutput, options: ParserOptions) {
    super(output, options)
    this.#read = read
  }

  /** A line may be whole without its end, and may not: nobody but the end of the input says so. */
  finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean {
    if (!isFinal) return false
    this.record(text, start, end, null)
    return true
  }

  protected give(text: string, start: number, end: number): void {
    let value: unknown
    try {
      value = this.#read(text.endsWith('\r') ? text.slice(0, -1) : text)
    } catch (error) {
      this.output.reject(error instanceof Error ? error.message : String(error), null, start, end)
      return
    }
    if (value !== null) this.output.value(value, start, end)
  }
}
