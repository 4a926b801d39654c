import { isAscii, isUtf8 } from 'node:buffer'
import type { Format, LineParser, ParserOutput } from '../adapters/format.ts'
import { SourceError } from '../errors.ts'
import type { Origin, RecordSink } from '../reader.ts'
import type { ByteInput } from './byte-input.ts'
import type { PrefixHash } from './prefix-hash.ts'

const NEWLINE = 10
const CARRIAGE_RETURN = 13
/** What a parser is given of a line that cannot be read as text. */
const SHOWN_BYTES = 1024
const TOO_LONG = 'too long to be read as one line'

export interface CursorOptions {
  /** As messages and dead letters name the file. */
  readonly path: string
  readonly input: ByteInput
  readonly format: Format
  /** Of what precedes the position that the input was opened at. */
  readonly prefix: PrefixHash
  readonly fileTimeMs: number
  readonly maxRecordBytes: number
  /** What a dead letter keeps of a record at most; no less than `maxRecordBytes`. */
  readonly maxPayloadBytes: number
  /** Read at once. */
  readonly chunkBytes: number
}

/** What became of the end of a file: bytes behind the last finished record that were left unread. */
export interface FileEnd {
  readonly unreadBytes: number
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
}

/**
 * Reads one file from a position on: chunks into a window, lines out of the window into the format's
 * parser, records into the sink. The window begins at the first unfinished record, which is the position;
 * memory is bounded by a chunk and `maxPayloadBytes`.
 */
export class FileCursor implements ParserOutput {
  readonly #options: CursorOptions
  readonly #parser: LineParser
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
  /** The beginning of that line, where it is no longer in the window. */
  #lineHead: Buffer | null = null
  #headerDue: boolean

  constructor(options: CursorOptions) {
    this.#options = options
    this.#prefix = options.prefix
    this.#window = Buffer.allocUnsafeSlow(2 * options.chunkBytes)
    const position = options.prefix.length
    this.#base = this.#lineStart = this.#searched = position
    this.#headerDue = position === 0 && options.format.header !== null
    this.#parser = options.format.parser(this, { maxRecordBytes: options.maxRecordBytes })
    this.#origin = {
      source: options.path,
      position: 0,
      buffer: this.#window,
      start: 0,
      end: 0,
      fallbackEventTimeMs: options.fileTimeMs,
    }
  }

  /** The first byte that is not part of a finished record. */
  get position(): number {
    return this.#prefix.length
  }

  /** Whether everything that was there is part of a finished record. */
  get isDrained(): boolean {
    return this.position === this.#base + this.#length
  }

  get input(): ByteInput {
    return this.#options.input
  }

  get prefix(): PrefixHash {
    return this.#prefix
  }

  /** Reads one chunk; false at the end of what is there now. */
  async read(sink: RecordSink): Promise<boolean> {
    this.#makeRoom()
    const bytes = await this.input.read(this.#window, this.#length, this.#options.chunkBytes)
    if (bytes === 0) return false
    this.#length += bytes
    this.#sink = sink
    this.#takeLines()
    this.#settle()
    this.#spillIfTooLarge()
    return true
  }

  /**
   * Takes the end of the input for the end of the file: finishes the last record, if it is whole.
   * Not for a damaged file, of which nobody knows what would follow.
   */
  finish(sink: RecordSink): FileEnd {
    this.#sink = sink
    const end = this.#base + this.#length
    if (this.#lineHead === null && this.#finishWith(this.#skipMark(this.#lineStart), end)) {
      this.#lineStart = this.#searched = end
    }
    this.#settle()
    return { unreadBytes: end - this.position }
  }

  /** Whether what follows the last newline is finished. */
  #finishWith(start: number, end: number): boolean {
    const tail = this.#window.subarray(start - this.#base, this.#length)
    if (isBlank(tail)) {
      this.#parser.finish()
      return true
    }
    return !this.#headerDue && isUtf8(tail) && this.#parser.finishWithin(tail.toString('utf8'), start, end)
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

  #takeLines(): void {
    const bytes = this.#window.subarray(0, this.#length)
    const base = this.#base
    const stop = bytes.lastIndexOf(NEWLINE) + 1
    if (base + stop <= this.#searched) {
      this.#searched = base + this.#length
      return
    }
    const from = this.#lineStart - base
    const lines = linesOf(bytes, Math.max(0, from), stop)
    let newline = bytes.indexOf(NEWLINE, this.#searched - base)
    while (newline >= 0) {
      this.#takeLine(lines, newline)
      this.#lineStart = base + newline + 1
      this.#lineHead = null
      newline = bytes.indexOf(NEWLINE, newline + 1)
    }
    this.#searched = base + this.#length
  }

  /** The line from `lineStart` to the newline at this index of the window. */
  #takeLine(lines: Lines, newline: number): void {
    const base = this.#base
    const start = this.#skipMark(this.#lineStart)
    const last = newline > 0 && lines.bytes[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline
    const end = base + last
    if (this.#lineHead !== null) {
      this.#give(this.#lineHead.toString('latin1'), start, end, TOO_LONG)
      return
    }
    const first = start - base
    if (first >= last || (lines.bytes[first]! <= 32 && isBlank(lines.bytes.subarray(first, last)))) return
    const tooLong = end - start > this.#options.maxRecordBytes
    const text = tooLong ? null : lines.text(first, last)
    if (text !== null) this.#give(text, start, end, null)
    else this.#give(lines.shown(first, last), start, end, tooLong ? TOO_LONG : 'not valid UTF-8')
  }

  #give(text: string, start: number, end: number, problem: string | null): void {
    if (!this.#headerDue) {
      this.#parser.line(text, start, end, problem)
      return
    }
    checkHeader(this.#options.path, this.#options.format, text)
    this.#headerDue = false
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
      this.#spill = { kept: kept.subarray(position - this.position), ahead, atLine: null }
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
    const { maxPayloadBytes, maxRecordBytes } = this.#options
    if (this.#spill === null && this.#length <= maxPayloadBytes) return
    const kept = this.#spill?.kept ?? Buffer.from(this.#window.subarray(0, maxPayloadBytes))
    const ahead = this.#spill?.ahead ?? this.#prefix.clone()
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
    this.#spill = { kept, ahead, atLine }
    this.#dropTo(this.#base + dropped)
  }

  #dropTo(position: number): void {
    const bytes = position - this.#base
    this.#window.copyWithin(0, bytes, this.#length)
    this.#length -= bytes
    this.#base = position
    // One long record must not be paid for until the end of the file.
    const { chunkBytes } = this.#options
    if (this.#window.length > 4 * chunkBytes && this.#length < chunkBytes) this.#resize(2 * chunkBytes)
  }

  #makeRoom(): void {
    if (this.#window.length - this.#length < this.#options.chunkBytes) this.#resize(this.#window.length * 2)
  }

  #resize(bytes: number): void {
    const window = Buffer.allocUnsafeSlow(bytes)
    this.#window.copy(window, 0, 0, this.#length)
    this.#window = window
  }
}

/** @throws SourceError FILE_HEADER */
export function checkHeader(path: string, format: Format, line: string): void {
  if (format.header === null || line === format.header) return
  const missing = format.header.split(',').find((column) => !line.split(',').includes(column))
  const what = missing === undefined ? 'has its columns in another order' : `lacks the column '${missing}'`
  throw new SourceError(
    'FILE_HEADER',
    `${path} is not in the format '${format.name}': its first line ${what}. It must be ${format.header}`,
  )
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 32 && byte !== 9 && byte !== CARRIAGE_RETURN) return false
  return true
}

interface Lines {
  readonly bytes: Buffer
  /** The text from one index to another; null when it is not UTF-8. */
  text(start: number, end: number): string | null
  shown(start: number, end: number): string
}

/** Decodes as much at once as it can: one pass over the chunk is far cheaper than one a line. */
function linesOf(bytes: Buffer, from: number, to: number): Lines {
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
