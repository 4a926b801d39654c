import { brokenJson, type ParserOutput, type TextFormat } from './format.ts'
import { LineParser } from './line-parser.ts'

/** One JSON object a line. */
export const ndjson: TextFormat = {
  kind: 'text',
  name: 'ndjson',
  description: 'one JSON object a line',
  parser: (output, options) => new NdjsonParser(output, options),
}

class NdjsonParser extends LineParser {
  finishWithin(text: string, start: number, end: number): boolean {
    return giveWholeObject(this.output, this.maxRecordBytes, text, start, end)
  }

  protected give(text: string, start: number, end: number): void {
    giveJson(this.output, text, start, end)
  }
}

/** A text as its JSON value, or why it has none. */
export function giveJson(output: ParserOutput, text: string, start: number, end: number): void {
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
