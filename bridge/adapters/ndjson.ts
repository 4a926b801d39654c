import {
  brokenJson,
  tooLarge,
  type ParserOptions,
  type ParserOutput,
  type TextFormat,
  type TextParser,
} from './format.ts'

const NEWLINE = 10

/** One JSON object a line. */
export const ndjson: TextFormat = {
  kind: 'text',
  name: 'ndjson',
  description: 'one JSON object a line',
  parser: (output, options) => new NdjsonParser(output, options),
}

class NdjsonParser implements TextParser {
  readonly pendingStart = -1
  readonly state = null
  readonly spansLines = false
  readonly #output: ParserOutput
  readonly #maxRecordBytes: number

  constructor(output: ParserOutput, { maxRecordBytes }: ParserOptions) {
    this.#output = output
    this.#maxRecordBytes = maxRecordBytes
  }

  endOf(bytes: Buffer, from: number): number {
    return bytes.indexOf(NEWLINE, from)
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    giveJson(this.#output, this.#maxRecordBytes, text, start, end, problem)
  }

  cutShort(): boolean {
    return false
  }

  finish(): void {}

  finishWithin(text: string, start: number, end: number): boolean {
    return giveWholeObject(this.#output, this.#maxRecordBytes, text, start, end)
  }
}

/** A text as its JSON value, or why it has none. */
export function giveJson(
  output: ParserOutput,
  maxRecordBytes: number,
  text: string,
  start: number,
  end: number,
  problem: string | null,
): void {
  if (end - start > maxRecordBytes) {
    output.reject(tooLarge(end - start, maxRecordBytes), null, start, end)
    return
  }
  if (problem !== null) {
    output.reject(problem, null, start, end)
    return
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    output.reject(brokenJson(error), null, start, end)
    return
  }
  output.value(json, start, end)
}

/** Gives what the input ended in, if it is an object: a closing brace alone says that nothing follows. */
export function giveWholeObject(
  output: ParserOutput,
  maxRecordBytes: number,
  text: string,
  start: number,
  end: number,
): boolean {
  if (end - start > maxRecordBytes) return false
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return false
  }
  // A number may go on: `12` can be the beginning of `123`.
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return false
  output.value(json, start, end)
  return true
}
