import { tooLarge, type Format, type LineParser, type ParserOutput } from './format.ts'

/** One JSON object a line. */
export const ndjson: Format = {
  name: 'ndjson',
  description: 'one JSON object a line',
  header: null,
  parser: (output, { maxRecordBytes }) => new NdjsonParser(output, maxRecordBytes),
}

class NdjsonParser implements LineParser {
  readonly pendingStart = -1
  readonly #output: ParserOutput
  readonly #maxRecordBytes: number

  constructor(output: ParserOutput, maxRecordBytes: number) {
    this.#output = output
    this.#maxRecordBytes = maxRecordBytes
  }

  line(text: string, start: number, end: number, problem: string | null): void {
    if (end - start > this.#maxRecordBytes) {
      this.#output.reject(tooLarge(end - start, this.#maxRecordBytes), null, start, end)
      return
    }
    if (problem !== null) {
      this.#output.reject(problem, null, start, end)
      return
    }
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (error) {
      this.#output.reject(brokenJson(error), null, start, end)
      return
    }
    this.#output.value(json, start, end)
  }

  finish(): void {}

  finishWithin(text: string, start: number, end: number): boolean {
    if (end - start > this.#maxRecordBytes) return false
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      return false
    }
    // A number may go on: `12` can be the beginning of `123`. Only a closing brace is an end.
    if (typeof json !== 'object' || json === null || Array.isArray(json)) return false
    this.#output.value(json, start, end)
    return true
  }
}

/** Why text is not JSON, in the parser's words. */
export function brokenJson(error: unknown): string {
  return `broken JSON: ${(error as Error).message}`
}
