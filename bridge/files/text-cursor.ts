import { isAscii, isUtf8 } from 'node:buffer'
import type { ParserOutput, TextFormat, TextParser } from '../adapters/format.ts'
import type { Origin, RecordSink } from '../reader.ts'
import type { ByteInput } from './byte-input.ts'
import type { Cursor, CursorOptions } from './cursor.ts'
import type { PrefixHash } from './prefix-hash.ts'

const NEWLINE = 10
const CARRIAGE_RETURN = 13
/** What a parser is given of a text that cannot be read as one. */
const SHOWN_BYTES = 1024
const TOO_LONG = 'too long to be read as one record'

export interface TextCursorOptions extends CursorOptions {
  readonly format: TextFormat
  /** Opened at the position. */
  readonly input: ByteInput
}

/**
 * A record that outgrew `maxPayloadBytes`: its beginning is kept for the dead letter, what follows is
 * only hashed and dropped.
 */
interface Spill {
  /** From the position on. */
  readonly kept: Buffer
  /** The prefix with what was dropped; it becomes the prefix once the record is finished. */
  readonly ahead: PrefixHash
  /** The prefix up to the line that was dropped before its end was seen: it may begin another record. */
  readonly atLine: PrefixHash | null
  /** Lines before the position. */
  readonly lines: number
}

/**
 * Reads one text file from a position on: chunks into a window, texts out of the window into the format's
 * parser, records into the sink. The window begins at the first unfinished record, which is the position;
 * memory is bounded by a chunk and `maxPayloadBytes`. What is called a line here ends where the format says.
 */
export class TextCursor implements Cursor, ParserOutput {
  readonly #options: TextCursorOptions
  readonly #parser: TextParser
  readonly #origin: Origin
  #prefix: PrefixHash
  #spill: Spill | null = null
  #sink: RecordSink | null = null

  #window: Buffer
  /** File position of the window's first byte, and bytes in the window. */
  #base: number
  #length = 0
  /** File position of the line that is not whole yet, and how far it was searched for its end. */
  #lineStart: number
  #searched: number
  /** Newlines before `#lineStart`. */
  #newlines: number
  /** The beginning of that line, where it is no longer in the window. */
  #lineHead: Buffer | null = null

  constructor(options: TextCursorOptions) {
    this.#options = options
    this.#prefix = options.prefix
    const { path, limits, fields, csvDelimiter: delimiter, state } = options
    this.#window = Buffer.allocUnsafeSlow(2 * limits.chunkBytes)
    this.#base = this.#lineStart = this.#searched = options.prefix.length
    this.#newlines = options.lines
    const { maxRecordBytes } = limits
    this.#parser = options.format.parser(this, { path, maxRecordBytes, fields, delimiter, state })
    this.#origin = {
      source: path,
      position: 0,
      line: 1,
      buffer: this.#window,
      start: 0,
      end: 0,
      byteLength: 0,
      fallbackEventTimeMs: options.fileTimeMs,
    }
  }

  /** The first byte that is not part of a finished record. */
  get position(): number {
    return this.#prefix.length
  }

  get isDrained(): boolean {
    return this.position === this.#base + this.#length
  }

  get isGzip(): boolean {
    return this.#options.input.isGzip
  }

  get consumed(): number {
    return this.#options.input.consumed
  }

  get damage(): string | null {
    return this.#options.input.damage
  }

  get prefix(): PrefixHash {
    return this.#prefix
  }

  get lines(): number {
    return this.#linesBefore(this.position)
  }

  get state(): string | null {
    return this.#parser.state
  }

  /** Reads one chunk; false at the end of what is there now. */
  async read(sink: RecordSink): Promise<boolean> {
    this.#makeRoom()
    const bytes = await this.#options.input.read(this.#window, this.#length, this.#options.limits.chunkBytes)
    if (bytes === 0) return false
    this.#length += bytes
    this.#sink = sink
    this.#takeLines()
    const { maxRecordBytes } = this.#options.limits
    while (this.#base + this.#length - this.#lineStart > maxRecordBytes && this.#cutShort()) this.#takeLines()
    this.#settle()
    this.#spillIfTooLarge()
    return true
  }

  /** Not for a damaged file, of which nobody knows what would follow. */
  finish(sink: RecordSink, isFinal: boolean): number {
    this.#sink = sink
    while (isFinal && this.#cutShort()) this.#takeLines()
    const end = this.#base + this.#length
    if (this.#lineHead === null && this.#finishWith(this.#skipMark(this.#lineStart), end, isFinal)) {
      this.#newlines += this.#newlinesBetween(this.#lineStart, end)
      this.#lineStart = this.#searched = end
    }
    this.#settle()
    return end - this.position
  }

  async close(): Promise<void> {
    await this.#options.input.close()
  }

  /** Whether what follows the last whole line is finished. */
  #finishWith(start: number, end: number, isFinal: boolean): boolean {
    const tail = this.#window.subarray(start - this.#base, this.#length)
    if (isBlank(tail)) {
      this.#parser.finish()
      return true
    }
    return isUtf8(tail) && this.#parser.finishWithin(tail.toString('utf8'), start, end, isFinal)
  }

  /** Whether the line at hand, as far as the window has it, is to be searched again for a sooner end. */
  #cutShort(): boolean {
    if (this.#lineHead !== null || !this.#parser.cutShort()) return false
    this.#searched = this.#lineStart
    return true
  }

  value(json: unknown, start: number, end: number): void {
    this.#sink!.value(json, this.#originOf(start, end))
  }

  reject(reason: string, field: string | null, start: number, end: number): void {
    const origin = this.#originOf(start, end)
    const kept = origin.end - origin.start
    const cut = kept < end - start ? `; the payload keeps its first ${kept} bytes` : ''
    this.#sink!.reject(reason + cut, field, origin)
  }

  #originOf(start: number, end: number): Origin {
    const origin = this.#origin
    origin.position = start
    origin.line = start === this.#lineStart ? this.#newlines + 1 : this.#linesBefore(start) + 1
    origin.byteLength = end - start
    if (start < this.#base) {
      const { kept } = this.#spill!
      origin.buffer = kept
      origin.start = Math.min(start - this.position, kept.length)
      origin.end = Math.min(end - this.position, kept.length)
    } else {
      origin.buffer = this.#window
      origin.start = start - this.#base
      origin.end = end - this.#base
    }
    return origin
  }

  /** Newlines before a position that is not before this cursor's own. */
  #linesBefore(position: number): number {
    if (position >= this.#lineStart) return this.#newlines + this.#newlinesBetween(this.#lineStart, position)
    if (position >= this.#base) return this.#newlines - this.#newlinesBetween(position, this.#lineStart)
    const { kept, lines } = this.#spill!
    return lines + countNewlines(kept, 0, position - this.position)
  }

  #newlinesBetween(start: number, end: number): number {
    return countNewlines(this.#window, Math.max(0, start - this.#base), end - this.#base)
  }

  #takeLines(): void {
    const bytes = this.#window.subarray(0, this.#length)
    const base = this.#base
    const parser = this.#parser
    let lines: Lines | null = null
    let at = parser.endOf(bytes, this.#searched - base, base)
    while (at >= 0) {
      lines ??= linesOf(bytes, Math.max(0, this.#lineStart - base), parser.spansLines)
      this.#takeLine(lines, at)
      this.#newlines += parser.spansLines ? this.#newlinesBetween(this.#lineStart, base + at + 1) : 1
      this.#lineStart = base + at + 1
      this.#lineHead = null
      at = parser.endOf(bytes, at + 1, base)
    }
    this.#searched = base + this.#length
  }

  /** The line from `lineStart` to its end at this index of the window. */
  #takeLine(lines: Lines, stop: number): void {
    const base = this.#base
    const start = this.#skipMark(this.#lineStart)
    const last = stop > 0 && lines.bytes[stop - 1] === CARRIAGE_RETURN ? stop - 1 : stop
    const end = base + last
    if (this.#lineHead !== null) {
      this.#parser.record(this.#lineHead.toString('latin1'), start, end, TOO_LONG)
      return
    }
    const first = start - base
    if (first >= last || (lines.bytes[first]! <= 32 && isBlank(lines.bytes.subarray(first, last)))) return
    const tooLong = end - start > this.#options.limits.maxRecordBytes
    const text = tooLong ? null : lines.text(first, last)
    if (text !== null) this.#parser.record(text, start, end, null)
    else this.#parser.record(lines.shown(first, last), start, end, tooLong ? TOO_LONG : 'not valid UTF-8')
  }

  /** Behind a byte order mark, if the line is the file's first and begins with one. */
  #skipMark(start: number): number {
    if (start !== 0 || this.#base !== 0) return start
    const bytes = this.#window
    return this.#length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : start
  }

  /** Moves the position behind the last finished record, and the window with it. */
  #settle(): void {
    const pending = this.#parser.pendingStart
    const position = pending >= 0 ? pending : this.#lineStart
    if (position === this.position) return
    if (position < this.#base) {
      const { kept, ahead, atLine } = this.#spill!
      const lines = this.#linesBefore(position)
      this.#spill = { kept: kept.subarray(position - this.position), ahead, atLine: null, lines }
      this.#prefix = atLine!
      return
    }
    if (this.#spill !== null) {
      this.#prefix = this.#spill.ahead
      this.#spill = null
    }
    this.#prefix.update(this.#window.subarray(0, position - this.#base))
    this.#dropTo(position)
  }

  #spillIfTooLarge(): void {
    const { maxPayloadBytes, maxRecordBytes } = this.#options.limits
    if (this.#spill === null && this.#length <= maxPayloadBytes) return
    const kept = this.#spill?.kept ?? Buffer.from(this.#window.subarray(0, maxPayloadBytes))
    const ahead = this.#spill?.ahead ?? this.#prefix.clone()
    const lines = this.#spill?.lines ?? this.#linesBefore(this.position)
    let atLine = this.#spill?.atLine ?? null
    const at = this.#lineStart - this.#base
    // Whole lines are done with; of a line that is itself too long only the beginning is wanted.
    const dropped = this.#length - at > maxRecordBytes ? this.#length : at
    if (dropped > at && this.#lineHead === null) {
      this.#lineHead = Buffer.from(this.#window.subarray(at, at + SHOWN_BYTES))
      ahead.update(this.#window.subarray(0, at))
      atLine = ahead.clone()
      ahead.update(this.#window.subarray(at, dropped))
    } else {
      ahead.update(this.#window.subarray(0, dropped))
    }
    this.#spill = { kept, ahead, atLine, lines }
    this.#dropTo(this.#base + dropped)
  }

  #dropTo(position: number): void {
    const bytes = position - this.#base
    this.#window.copyWithin(0, bytes, this.#length)
    this.#length -= bytes
    this.#base = position
    // One long record must not be paid for until the end of the file.
    const { chunkBytes } = this.#options.limits
    if (this.#window.length > 4 * chunkBytes && this.#length < chunkBytes) this.#resize(2 * chunkBytes)
  }

  #makeRoom(): void {
    if (this.#window.length - this.#length < this.#options.limits.chunkBytes)
      this.#resize(this.#window.length * 2)
  }

  #resize(bytes: number): void {
    const window = Buffer.allocUnsafeSlow(bytes)
    this.#window.copy(window, 0, 0, this.#length)
    this.#window = window
  }
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) {
    if (byte !== 32 && byte !== 9 && byte !== CARRIAGE_RETURN && byte !== NEWLINE) return false
  }
  return true
}

function countNewlines(bytes: Buffer, start: number, end: number): number {
  if (end <= start) return 0
  const region = bytes.subarray(start, end)
  let count = 0
  for (let at = region.indexOf(NEWLINE); at >= 0; at = region.indexOf(NEWLINE, at + 1)) count++
  return count
}

interface Lines {
  readonly bytes: Buffer
  /** The text from one index to another; null when it is not UTF-8. */
  text(start: number, end: number): string | null
  shown(start: number, end: number): string
}

/** Decodes as much at once as it can: one pass over the chunk is far cheaper than one a line. */
function linesOf(bytes: Buffer, from: number, spansLines: boolean): Lines {
  const to = spansLines ? wholeCharacters(bytes) : bytes.lastIndexOf(NEWLINE) + 1
  const region = bytes.subarray(from, to)
  const shown = (start: number, end: number): string =>
    bytes.toString('latin1', start, Math.min(end, start + SHOWN_BYTES))
  if (isAscii(region)) {
    const text = region.toString('latin1')
    return { bytes, shown, text: (start, end) => text.substring(start - from, end - from) }
  }
  if (isUtf8(region)) return { bytes, shown, text: (start, end) => bytes.toString('utf8', start, end) }
  const text = (start: number, end: number): string | null =>
    isUtf8(bytes.subarray(start, end)) ? bytes.toString('utf8', start, end) : null
  return { bytes, shown, text }
}

/** Where the last character ends that is whole: a chunk may end within one. */
function wholeCharacters(bytes: Buffer): number {
  let at = bytes.length
  while (at > 0 && bytes.length - at < 3 && (bytes[at - 1]! & 0xc0) === 0x80) at--
  return at > 0 && bytes[at - 1]! >= 0xc0 ? at - 1 : bytes.length
}
