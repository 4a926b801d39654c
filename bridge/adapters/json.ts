import { SourceError } from '../errors.ts'
import { shownPath } from '../files/paths.ts'
import {
  isRefused,
  type ParserOptions,
  type ParserOutput,
  type TextFormat,
  type TextParser,
} from './format.ts'
import { giveJson, giveWholeObject } from './ndjson.ts'

const [NEWLINE, RETURN, TAB, SPACE, QUOTE, COMMA, BACKSLASH] = [10, 13, 9, 32, 34, 44, 92]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [91, 93, 123, 125]
/** The bytes of a byte order mark. */
const MARK = [0xef, 0xbb, 0xbf]

/** One array of objects, or objects one behind the other, over any number of lines. */
export const json: TextFormat = {
  kind: 'text',
  name: 'json',
  description: 'an array of JSON objects, or objects one behind the other',
  parser: (output, options) => new JsonParser(output, options),
}

/**
 * `start`: nothing but blanks yet · `array`: within the array's brackets · `sequence`: there are none ·
 * `closed`: behind them, where nothing should be.
 */
type Place = 'start' | 'array' | 'sequence' | 'closed'

/** Finds where elements end by brackets and quotes alone; JSON.parse judges what is between. */
class JsonParser implements TextParser {
  readonly pendingStart = -1
  readonly spansLines = true
  readonly #output: ParserOutput
  readonly #maxRecordBytes: number
  readonly #path: string
  #place: Place
  #depth = 0
  #inString = false
  #escaped = false
  /** Of a sequence: whether a value has ended, so that a blank separates it from the next. */
  #valueEnded = false

  constructor(output: ParserOutput, { maxRecordBytes, path, state }: ParserOptions) {
    this.#output = output
    this.#maxRecordBytes = maxRecordBytes
    this.#path = path
    this.#place = (state as Place | null) ?? 'start'
  }

  get state(): string | null {
    return this.#place === 'start' ? null : this.#place
  }

  endOf(bytes: Buffer, from: number): number {
    if (this.#place === 'closed') return -1
    for (let i = from; i < bytes.length; i++) {
      const byte = bytes[i]!
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false
        else if (byte === BACKSLASH) this.#escaped = true
        else if (byte === QUOTE) this.#inString = false
      } else if (this.#isEnd(byte)) {
        this.#valueEnded = false
        return i
      }
    }
    return -1
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    const from = start + blanksBefore(text)
    const to = problem === null ? end - blanksBehind(text) : end
    if (!isRefused(this.#output, this.#maxRecordBytes, from, to, problem))
      giveJson(this.#output, text, from, to)
  }

  cutShort(): boolean {
    return false
  }

  finish(): void {}

  finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean {
    const from = start + blanksBefore(text)
    if (this.#place !== 'closed') {
      return giveWholeObject(this.#output, this.#maxRecordBytes, text, from, end)
    }
    if (isFinal) this.#output.reject('text behind the end of the JSON array', null, from, end)
    return isFinal
  }

  /** Takes the next byte outside of a string; whether a text ends before it. */
  #isEnd(byte: number): boolean {
    switch (byte) {
      case QUOTE:
        this.#begin(byte)
        this.#inString = true
        return false
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (this.#place === 'start' && byte === OPEN_ARRAY) {
          this.#place = 'array'
          return true
        }
        this.#begin(byte)
        this.#depth++
        return false
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        return this.#close(byte)
      case COMMA:
        return this.#depth === 0 && this.#place !== 'start'
      case NEWLINE:
      case RETURN:
      case TAB:
      case SPACE:
        return this.#valueEnded
      default:
        this.#begin(byte)
        return false
    }
  }

  #close(byte: number): boolean {
    if (this.#depth > 0) {
      this.#depth--
      this.#valueEnded = this.#depth === 0 && this.#place === 'sequence'
      return false
    }
    if (byte !== CLOSE_ARRAY || this.#place !== 'array') return false
    this.#place = 'closed'
    return true
  }

  /** @throws SourceError FILE_FORMAT when a file begins with what no JSON of objects begins with */
  #begin(byte: number): void {
    if (this.#place !== 'start' || MARK.includes(byte)) return
    if (byte !== OPEN_OBJECT) {
      throw new SourceError(
        'FILE_FORMAT',
        `${shownPath(this.#path)} is not in the format 'json': it begins with ` +
          `${JSON.stringify(String.fromCharCode(byte))}, and an array or an object has to begin with '[' or '{'. ` +
          `Name its format with --format.`,
      )
    }
    this.#place = 'sequence'
  }
}

// Not `trim`: it takes away what JSON does not call blank, and what is more than one byte.

function blanksBefore(text: string): number {
  return /^[ \t\r\n]*/.exec(text)![0].length
}

function blanksBehind(text: string): number {
  let at = text.length
  while (at > 0 && ' \t\r\n'.includes(text[at - 1]!)) at--
  return text.length - at
}
