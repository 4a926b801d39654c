import { stat } from 'node:fs/promises'
import { sleep } from '../source-pump.ts'
import type { StoredRecord } from '../positions.ts'
import type { ReaderContext, ReaderProgress, ReadState, RecordSink, SourceReader } from '../reader.ts'
import { openBytes } from './byte-input.ts'
import { FileCursor } from './file-cursor.ts'
import {
  checkUnchanged,
  encodeFileRecord,
  fileRecords,
  PrefixReader,
  truncated,
  type FileRecord,
} from './file-record.ts'
import type { FileSettings } from './files-input.ts'
import { fileError, type InputPath } from './paths.ts'
import { PrefixHash } from './prefix-hash.ts'

/** A file on its way. */
interface TrackedFile {
  readonly input: InputPath
  readonly fileTimeMs: number
  /** Of what was read; its length is the position. */
  prefix: PrefixHash
  /** As it was stored last; null: not yet. */
  stored: FileRecord | null
  complete: boolean
  /** On disk, as it was when the file was opened or looked at last. */
  size: number
  consumed: number
  /** Whether this run has read it to the end that it had then. */
  atEnd: boolean
  /** The same content as a file that was read before. */
  skipped: boolean
  isGzip: boolean
}

/**
 * Reads files one after the other, in the order given; once all are read, a live source looks for growth.
 * An unfinished record at a file's end is left where it is and read again from its start when more is there.
 */
export class FilesReader implements SourceReader {
  readonly #files: TrackedFile[]
  readonly #settings: FileSettings
  readonly #context: ReaderContext
  /** What is known of all files that this source ever read, by real path. */
  readonly #known: Map<string, FileRecord>
  #current: { readonly file: TrackedFile; readonly cursor: FileCursor } | null = null
  #recognising: { readonly file: TrackedFile; readonly reader: PrefixReader; close(): Promise<void> } | null =
    null
  readonly #moved = new Set<TrackedFile>()

  constructor(inputs: readonly InputPath[], settings: FileSettings, context: ReaderContext) {
    this.#settings = settings
    this.#context = context
    this.#known = fileRecords(context.source, context.stored)
    this.#files = inputs.map((input) => {
      const stored = this.#known.get(input.realPath) ?? null
      return {
        input,
        fileTimeMs: stored?.fileTimeMs ?? input.modifiedMs,
        prefix: new PrefixHash(),
        stored,
        complete: stored?.complete ?? false,
        size: stored?.size ?? 0,
        consumed: 0,
        atEnd: false,
        skipped: false,
        isGzip: false,
      }
    })
  }

  /**
   * Compares every known file with what was read of it, before anything is written.
   * @throws SourceError FILE_CHANGED or FILE_TRUNCATED
   */
  async verify(): Promise<void> {
    for (const file of this.#files) {
      const { input, stored } = file
      file.size = await sizeOf(input.path)
      if (stored === null || stored.position === 0) continue
      const bytes = await openBytes(input.path, 0)
      try {
        const reader = new PrefixReader(bytes, stored.position, stored.headBytes, this.#settings.chunkBytes)
        while (await reader.step()) if (this.#context.signal.aborted) return
        checkUnchanged(input, stored, reader)
        file.prefix = reader.prefix
        file.consumed = bytes.consumed
        file.atEnd = stored.complete && stored.size === file.size
      } finally {
        await bytes.close()
      }
    }
  }

  async read(sink: RecordSink): Promise<ReadState> {
    if (this.#recognising !== null) {
      await this.#recognise()
      return 'more'
    }
    if (this.#current === null && !(await this.#openNext())) return this.#context.finite ? 'done' : 'idle'
    if (this.#current === null) return 'more'
    const { file, cursor } = this.#current
    const more = await cursor.read(sink)
    if (!more) this.#end(file, cursor, sink)
    this.#note(file, cursor)
    if (!more) {
      this.#current = null
      await cursor.input.close()
    }
    return 'more'
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    await sleep(Math.min(maxMs, this.#settings.pollMs), signal)
    for (const file of this.#files) {
      if (!file.atEnd || file.skipped) continue
      const size = await sizeOf(file.input.path)
      if (size === file.size) continue
      if (size < file.prefix.length && !file.isGzip) throw truncated(file.input, file.prefix.length, size)
      file.size = size
      file.atEnd = false
      // What is stored from here on must not say that the growth was read.
      file.complete = false
    }
  }

  takePositions(): StoredRecord[] {
    const records: StoredRecord[] = []
    for (const file of this.#moved) {
      const position = file.prefix.length
      const { stored, complete } = file
      const moved =
        stored === null ? position > 0 : position !== stored.position || complete !== stored.complete
      if (!moved) continue
      const record = recordOf(file)
      file.stored = record
      records.push(encodeFileRecord(this.#context.source, file.input.realPath, record))
    }
    this.#moved.clear()
    return records
  }

  /** Files promise nothing beyond what was read of them. */
  promiseMs(): null {
    return null
  }

  progress(): ReaderProgress {
    const files = this.#files.map(({ input, prefix, size, consumed, skipped }) => ({
      path: input.path,
      position: prefix.length,
      size,
      consumed: skipped ? size : consumed,
    }))
    return { files }
  }

  async close(): Promise<void> {
    await this.#current?.cursor.input.close()
    await this.#recognising?.close()
    this.#current = null
    this.#recognising = null
  }

  /** Opens the first file that may have something to read; false when there is none. */
  async #openNext(): Promise<boolean> {
    const file = this.#files.find(({ atEnd, skipped }) => !atEnd && !skipped)
    if (file === undefined) return false
    const { path } = file.input
    file.size = await sizeOf(path)
    if (file.stored === null && file.prefix.length === 0 && this.#candidates(file.size).length > 0) {
      const input = await openBytes(path, 0)
      const reader = new PrefixReader(input, Infinity, Infinity, this.#settings.chunkBytes)
      this.#recognising = { file, reader, close: () => input.close() }
      return true
    }
    await this.#open(file)
    return true
  }

  async #open(file: TrackedFile): Promise<void> {
    const { format, maxRecordBytes, maxPayloadBytes, chunkBytes } = this.#settings
    const { path } = file.input
    const input = await openBytes(path, file.prefix.length)
    const { fileTimeMs, prefix } = file
    file.isGzip = input.isGzip
    const options = { path, input, format, prefix, fileTimeMs, maxRecordBytes, maxPayloadBytes, chunkBytes }
    this.#current = { file, cursor: new FileCursor(options) }
  }

  /** Files that were read to their end and were as long. */
  #candidates(size: number): [string, FileRecord][] {
    return [...this.#known].filter(
      ([, record]) => record.complete && record.size === size && record.position > 0,
    )
  }

  /** The same content under another path is not read again; only the hash of all of it says so. */
  async #recognise(): Promise<void> {
    const { file, reader, close } = this.#recognising!
    if (await reader.step()) return
    this.#recognising = null
    await close()
    const { hash } = reader.prefix.digest()
    const { length } = reader.prefix
    const same = this.#candidates(file.size).find(
      ([, known]) => known.hash === hash && known.position === length,
    )
    if (same === undefined) {
      await this.#open(file)
      return
    }
    file.skipped = true
    this.#say(
      'FILE_RECOGNISED',
      `${file.input.path} has the same content as ${same[0]}, which was read: skipped.`,
    )
  }

  /** The end of what is there: in a finite run, and before a further file, the end of the file. */
  #end(file: TrackedFile, cursor: FileCursor, sink: RecordSink): void {
    file.atEnd = true
    const { damage } = cursor.input
    const { path } = file.input
    if (damage !== null) {
      this.#say(
        'FILE_DAMAGED',
        `${path} cannot be decompressed to its end (${damage}): read up to the last whole record.`,
      )
      file.complete = false
      return
    }
    // A file behind which another stands has ended, live too: time moves on with the next one.
    if (!this.#context.finite && file === this.#files.at(-1)) {
      file.complete = cursor.isDrained
      return
    }
    const { unreadBytes } = cursor.finish(sink)
    file.complete = unreadBytes === 0
    if (unreadBytes === 0) return
    const bytes = `${unreadBytes} ${unreadBytes === 1 ? 'byte' : 'bytes'}`
    this.#say(
      'UNFINISHED_END',
      `${path}: ${bytes} at the end without a newline: left for when the file grows.`,
    )
  }

  #note(file: TrackedFile, cursor: FileCursor): void {
    if (!file.atEnd) file.complete = false
    file.prefix = cursor.prefix
    file.consumed = cursor.input.consumed
    // It may have grown while it was read.
    file.size = Math.max(file.size, file.consumed)
    this.#moved.add(file)
    // At once, and not with the next transaction: whether a copy is skipped must not depend on when that is.
    if (file.complete) this.#known.set(file.input.realPath, recordOf(file))
  }

  #say(code: 'FILE_RECOGNISED' | 'FILE_DAMAGED' | 'UNFINISHED_END', message: string): void {
    this.#context.notice({ code, source: this.#context.source, message })
  }
}

function recordOf({ prefix, size, complete, fileTimeMs }: TrackedFile): FileRecord {
  return { position: prefix.length, size, complete, fileTimeMs, ...prefix.digest() }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    throw fileError(path, error)
  }
}
