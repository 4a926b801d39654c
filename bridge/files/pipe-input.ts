import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { formatNamed } from '../adapters/formats.ts'
import { SourceError } from '../errors.ts'
import { keys, parseStored, type StoredRecord } from '../positions.ts'
import type {
  ReaderContext,
  ReaderProgress,
  ReadState,
  RecordSink,
  SourceInput,
  SourceReader,
} from '../reader.ts'
import { systemTimer } from '../../config/clock.ts'
import type { ByteInput } from './byte-input.ts'
import { limitsOf, type FormatOptions } from './files-input.ts'
import { PrefixHash } from './prefix-hash.ts'
import { TextCursor } from './text-cursor.ts'

/** Stored with every transaction; of use to the same process only, which still has what came behind it. */
interface PipeRecord {
  readonly stream: string
  readonly position: number
}

/** Where a reader can go on. */
interface Mark {
  readonly position: number
  readonly prefix: PrefixHash
  readonly lines: number
  readonly state: string | null
}

export interface PipeOptions extends FormatOptions {
  /** Such as standard input. Read no faster than its records are taken. */
  readonly stream: Readable
  /** What dead letters and messages call it. */
  readonly name: string
}

/**
 * A stream of bytes that comes once, such as standard input, as a source's input. What was read of it when the
 * process dies is not read again: it is committed, or lost with the process. An error of the log loses
 * nothing, since what is not committed is kept.
 * @throws SourceError UNKNOWN_FORMAT, or BAD_SOURCE for a format that needs a file
 */
export async function pipe(options: PipeOptions): Promise<SourceInput> {
  const format = await formatNamed(options.format ?? 'ndjson', options.ownFormats)
  if (format.kind !== 'text') {
    throw new SourceError(
      'BAD_SOURCE',
      `${format.name} cannot be read from a pipe: write it to a file first.`,
    )
  }
  const bytes = new PipedBytes(options.stream)
  const stream = randomUUID()
  let marks: Mark[] = [{ position: 0, prefix: new PrefixHash(), lines: 0, state: null }]
  return {
    description: `${options.name} (${format.name}, cannot be read twice)`,
    disorderMs: null,
    prepare: async () => undefined,
    open: async (context) => {
      const key = keys.pipe(context.source)
      const value = context.stored.get(key)
      const stored = value === undefined ? null : parseStored<PipeRecord>(key, value)
      const position = stored?.stream === stream ? stored.position : 0
      const mark = marks.find((mark) => mark.position === position)!
      marks = [mark]
      bytes.position = position
      const cursor = new TextCursor({
        path: options.name,
        format,
        input: bytes,
        prefix: mark.prefix.clone(),
        lines: mark.lines,
        state: mark.state,
        fileTimeMs: context.nowMs,
        limits: limitsOf(options),
        fields: options.fields ?? [],
        csvDelimiter: options.csvDelimiter ?? null,
      })
      return new PipeReader({ bytes, cursor, marks, stream, context, name: options.name })
    },
  }
}

interface Parts {
  readonly bytes: PipedBytes
  readonly cursor: TextCursor
  /** Those that may be the last committed one. */
  readonly marks: Mark[]
  readonly stream: string
  readonly context: ReaderContext
  readonly name: string
}

/** Of two transactions one may be under way when the next is filled: the position before both may be asked for. */
const MARKS = 3

class PipeReader implements SourceReader {
  readonly #parts: Parts
  #finished = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async read(sink: RecordSink): Promise<ReadState> {
    const { bytes, cursor, context } = this.#parts
    if (this.#finished) return context.finite ? 'done' : 'idle'
    if (await cursor.read(sink)) return 'more'
    if (!bytes.hasEnded) return 'idle'
    this.#finished = true
    this.#end(sink)
    return 'more'
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    const arrived = new AbortController()
    const wake = (): void => arrived.abort()
    const stopWaiting = this.#finished ? () => undefined : this.#parts.bytes.onReadable(wake)
    await systemTimer.sleep(maxMs, AbortSignal.any([signal, arrived.signal]))
    stopWaiting()
  }

  takePositions(): StoredRecord[] {
    const { cursor, marks, stream, context, bytes } = this.#parts
    const { position } = cursor
    if (position === marks.at(-1)!.position) return []
    marks.push({ position, prefix: cursor.prefix.clone(), lines: cursor.lines, state: cursor.state })
    if (marks.length > MARKS) marks.shift()
    bytes.dropTo(marks[0]!.position)
    const record: PipeRecord = { stream, position }
    return [{ key: keys.pipe(context.source), value: JSON.stringify(record) }]
  }

  /** A pipe promises nothing beyond what was read of it. */
  promiseMs(): null {
    return null
  }

  progress(): ReaderProgress {
    return { files: [] }
  }

  /** The stream stays: who opens it again goes on with it. */
  async close(): Promise<void> {}

  #end(sink: RecordSink): void {
    const { cursor, context, name } = this.#parts
    const { source } = context
    if (cursor.damage !== null) {
      const message = `${name} cannot be read to its end (${cursor.damage}): read up to the last whole record.`
      context.notice({ code: 'FILE_DAMAGED', source, message })
      return
    }
    const unread = cursor.finish(sink, true)
    if (unread === 0) return
    const message = `${name}: its last ${unread} bytes are no whole record, and were left out.`
    context.notice({ code: 'UNFINISHED_END', source, message })
  }
}

/** The bytes of a stream from the last one that may be asked for again. */
class PipedBytes implements ByteInput {
  isGzip = false
  damage: string | null = null
  /** Of the next byte to be read. */
  position = 0
  readonly #input: Readable
  /** What came before it was known what it is. */
  #head: Buffer = Buffer.alloc(0)
  /** The stream, or what it decompresses to. */
  #output: Readable | null = null
  #ended = false
  readonly #kept: Buffer[] = []
  /** Positions of the first byte that is kept, and behind the last one. */
  #start = 0
  #end = 0
  #arrived: () => void = () => undefined

  constructor(input: Readable) {
    this.#input = input
    this.#listen(input)
    input.on('error', (error) => this.#fail(error))
  }

  get consumed(): number {
    return this.position
  }

  get hasEnded(): boolean {
    return this.#ended && this.#output !== null && this.position === this.#end
  }

  /** Does not wait: 0 says that nothing is there now. */
  async read(buffer: Buffer, offset: number, maxBytes: number): Promise<number> {
    if (this.position === this.#end) this.#pull()
    let at = this.#start
    for (const chunk of this.#kept) {
      if (this.position < at + chunk.length) {
        const bytes = chunk.copy(buffer, offset, this.position - at, this.position - at + maxBytes)
        this.position += bytes
        return bytes
      }
      at += chunk.length
    }
    return 0
  }

  onReadable(listener: () => void): () => void {
    this.#arrived = listener
    if (this.#ended || (this.#output ?? this.#input).readableLength > 0) listener()
    return () => (this.#arrived = () => undefined)
  }

  async close(): Promise<void> {}

  dropTo(position: number): void {
    while (this.#kept.length > 0 && this.#start + this.#kept[0]!.length <= position) {
      this.#start += this.#kept.shift()!.length
    }
  }

  #pull(): void {
    if (this.#output === null) this.#begin()
    else this.#keep(this.#output.read() as Buffer | null)
  }

  #keep(chunk: Buffer | null): void {
    if (chunk === null || chunk.length === 0) return
    this.#kept.push(chunk)
    this.#end += chunk.length
  }

  /** Finds out by the first two bytes whether the stream is to be decompressed. */
  #begin(): void {
    const chunk = this.#input.read() as Buffer | null
    if (chunk !== null) this.#head = Buffer.concat([this.#head, chunk])
    const head = this.#head
    if (head.length < 2 && !this.#ended) return
    this.#output = this.#input
    if (head[0] !== 0x1f || head[1] !== 0x8b) {
      this.#keep(head)
      return
    }
    this.isGzip = true
    const gunzip = createGunzip()
    gunzip.on('error', (error) => this.#fail(error))
    this.#input.removeAllListeners('readable')
    this.#input.removeAllListeners('end')
    this.#listen(gunzip)
    gunzip.write(head)
    this.#output = this.#input.pipe(gunzip)
  }

  #listen(stream: Readable): void {
    stream.on('readable', () => this.#arrived())
    stream.on('end', () => {
      this.#ended = true
      this.#arrived()
    })
  }

  #fail(error: Error): void {
    this.damage = error.message
    this.#ended = true
    this.#arrived()
  }
}
