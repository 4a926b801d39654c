import { SourceError, type SourceNotice } from '../errors.ts'
import type { StoredRecord } from '../positions.ts'
import type { ReaderContext, ReaderProgress, ReadState, RecordSink, SourceReader } from '../reader.ts'
import { systemTimer } from '../../config/clock.ts'
import { openBytes } from './byte-input.ts'
import type { Cursor } from './cursor.ts'
import { checkUnchanged, encodeFileRecord, PrefixReader, truncated } from './file-record.ts'
import type { FileSettings } from './files-input.ts'
import { KnownFiles } from './known-files.ts'
import { openCursor } from './open-cursor.ts'
import { lookAtPaths, shownPath, type InputPath, type Look } from './paths.ts'
import { recordOf, track, type TrackedFile } from './tracked-file.ts'

export interface FilesReaderOptions {
  readonly paths: readonly string[]
  /** Whether files can come and go: there is a directory or a pattern among the paths. */
  readonly isWatched: boolean
  readonly look: Look
  readonly settings: FileSettings
  readonly context: ReaderContext
}

/** A look at many files may take longer than they are to be polled: it takes this part of the time at most. */
const LOOKING_SHARE = 1 / 20

/**
 * Reads files one after the other, in the order given; once all are read, a live source looks for growth, and
 * for new files. An unfinished record at a file's end is left where it is and read again from its start when
 * more is there. What is wrong with a file ends the run; with one that a live source found in a directory, it
 * is said, and the file left alone until it changes.
 */
export class FilesReader implements SourceReader {
  #files: TrackedFile[] = []
  readonly #options: FilesReaderOptions
  readonly #settings: FileSettings
  readonly #context: ReaderContext
  readonly #known: KnownFiles
  /** Entries of directories that cannot be read, as they were said. */
  #problems = new Set<string>()
  #current: { readonly file: TrackedFile; readonly cursor: Cursor } | null = null
  #recognising: { readonly file: TrackedFile; readonly reader: PrefixReader; close(): Promise<void> } | null =
    null
  readonly #moved = new Set<TrackedFile>()
  #nowMs: number
  #nextLookMs = 0

  constructor(options: FilesReaderOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#context = options.context
    this.#nowMs = options.context.nowMs
    this.#known = new KnownFiles(options.context)
    this.#add(options.look.files)
    this.#sayProblems(options.look.problems)
  }

  /**
   * Compares every known file with what was read of it, before anything is written.
   * @throws SourceError FILE_CHANGED or FILE_TRUNCATED
   */
  async verify(): Promise<void> {
    for (const file of this.#files) {
      if (this.#context.signal.aborted) return
      await this.#guarded(file, () => this.#verify(file))
    }
  }

  async read(sink: RecordSink, nowMs: number): Promise<ReadState> {
    this.#nowMs = nowMs
    const file = this.#recognising?.file ?? this.#current?.file ?? this.#next()
    if (file === undefined) return this.#context.finite ? 'done' : 'idle'
    await this.#guarded(file, () => this.#readOn(file, sink))
    return 'more'
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    await systemTimer.sleep(Math.min(maxMs, this.#settings.pollMs), signal)
    const startMs = performance.now()
    if (signal.aborted || startMs < this.#nextLookMs) return
    let look: Look
    try {
      look = await lookAtPaths(this.#options.paths)
    } catch (error) {
      if (!this.#options.isWatched || !(error instanceof SourceError)) throw error
      this.#sayProblems([error])
      return
    }
    this.#sayProblems(look.problems)
    const found = new Map(look.files.map((input) => [input.realPath, input]))
    for (const file of this.#files) await this.#lookAt(file, found.get(file.input.realPath))
    this.#files = this.#files.filter(({ input }) => found.has(input.realPath))
    const known = new Set(this.#files.map(({ input }) => input.realPath))
    const added = look.files.filter(({ realPath }) => !known.has(realPath))
    if (added.length > 0) this.#reopenLast()
    this.#add(added)
    const endMs = performance.now()
    this.#nextLookMs = endMs + (endMs - startMs) / LOOKING_SHARE
  }

  takePositions(): StoredRecord[] {
    const records: StoredRecord[] = []
    for (const file of this.#moved) {
      const { stored, complete, lines } = file
      const position = file.prefix.length
      const moved =
        stored === null
          ? position > 0
          : position !== stored.position || lines !== stored.lines || complete !== stored.complete
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
    const files = this.#files.map(({ input, prefix, consumed, skipped }) => ({
      path: input.path,
      position: prefix.length,
      size: Math.max(input.size, consumed),
      consumed: skipped ? input.size : consumed,
    }))
    return { files }
  }

  async close(): Promise<void> {
    const current = this.#current
    const recognising = this.#recognising
    this.#current = null
    this.#recognising = null
    await current?.cursor.close()
    await recognising?.close()
  }

  #add(inputs: readonly InputPath[]): void {
    for (const input of inputs) this.#files.push(track(input, this.#known.get(input.realPath)))
  }

  /** What a look at a tracked file means for it; undefined: it is not there any more. */
  async #lookAt(file: TrackedFile, now: InputPath | undefined): Promise<void> {
    if (now === undefined) {
      // Should it come back, it goes on from here.
      if (file.prefix.length > 0) this.#known.set(file.input.realPath, recordOf(file))
      const isRead = file.complete || file.skipped || file.input.size === 0
      if (!isRead && file.refused === null) this.#sayVanished(file)
      return
    }
    const before = file.input
    file.input = now
    if (file.refused !== null) {
      if (file.refused === now.version) return
      file.refused = null
      file.format = null
      file.atEnd = false
      file.skipped = false
      // It may have been refused before what was stored of it was taken over.
      file.unverified = file.prefix.length > 0 || (file.stored?.position ?? 0) > 0
      return
    }
    if (!file.atEnd || file.skipped) return
    if (now.size === before.size && now.inode === before.inode) {
      this.#settle(file)
      return
    }
    // A file renamed into this one's place is not its continuation, unless it begins with what was read.
    if (now.inode !== before.inode) file.unverified = file.prefix.length > 0
    file.atEnd = false
    file.settled = false
    // What is stored from here on must not say that the growth was read.
    file.complete = false
    if (now.size < file.prefix.length && !file.isGzip) {
      await this.#guarded(file, () => Promise.reject(truncated(now, file.prefix.length, now.size)))
    }
  }

  /** An unfinished end is read once more when nobody has written for long. */
  #settle(file: TrackedFile): void {
    if (file.complete || file.settled) return
    if (this.#nowMs - file.input.modifiedMs < this.#settings.settleMs) return
    file.settled = true
    file.atEnd = false
  }

  /** The last file ends when another one stands behind it: what was left for its growth is looked at again. */
  #reopenLast(): void {
    const last = this.#files.at(-1)
    if (last?.atEnd === true && !last.complete && !last.skipped) last.atEnd = false
  }

  #next(): TrackedFile | undefined {
    return this.#files.find(({ atEnd, skipped, refused }) => !atEnd && !skipped && refused === null)
  }

  async #readOn(file: TrackedFile, sink: RecordSink): Promise<void> {
    if (this.#recognising !== null) {
      await this.#recognise()
    } else if (this.#current === null) {
      await this.#openNext(file)
    } else {
      await this.#readFrom(file, this.#current.cursor, sink)
    }
  }

  async #readFrom(file: TrackedFile, cursor: Cursor, sink: RecordSink): Promise<void> {
    const more = await cursor.read(sink)
    if (!more) this.#end(file, cursor, sink)
    this.#note(file, cursor)
    if (more) return
    this.#current = null
    await cursor.close()
  }

  async #openNext(file: TrackedFile): Promise<void> {
    if (file.unverified) {
      await this.#verify(file)
      return
    }
    if (file.input.size === 0) {
      // Of whatever format: there is nothing in it, or not yet.
      file.atEnd = true
      return
    }
    const isNew = file.stored === null && file.prefix.length === 0
    if (isNew && this.#known.ofSize(file.input.size).length > 0) {
      const input = await openBytes(file.input.path, 0)
      const reader = new PrefixReader(input, Infinity, Infinity, this.#settings.limits.chunkBytes)
      this.#recognising = { file, reader, close: () => input.close() }
      return
    }
    await this.#open(file)
  }

  async #open(file: TrackedFile): Promise<void> {
    const { limits, fields, csvDelimiter, formatOf } = this.#settings
    const { prefix, lines, state, fileTimeMs } = file
    file.format ??= await formatOf(file.input)
    const { path } = file.input
    const options = { path, prefix, lines, state, fileTimeMs, limits, fields, csvDelimiter }
    const cursor = await openCursor(file.format, options)
    file.isGzip = cursor.isGzip
    this.#current = { file, cursor }
  }

  async #verify(file: TrackedFile): Promise<void> {
    if (!file.unverified) return
    const { input, stored } = file
    // Beside what is stored there may be what was read since, and is not committed yet.
    const known = file.prefix.length > 0 ? recordOf(file) : stored!
    const bytes = await openBytes(input.path, 0)
    try {
      const { chunkBytes } = this.#settings.limits
      const reader = new PrefixReader(bytes, known.position, known.headBytes, chunkBytes)
      while (await reader.step()) if (this.#context.signal.aborted) return
      checkUnchanged(input, known, reader)
      file.prefix = reader.prefix
      file.consumed = bytes.consumed
      file.atEnd = known.complete && known.size === input.size
      file.unverified = false
    } finally {
      await bytes.close()
    }
  }

  /** The same content under another path is not read again; only the hash of all of it says so. */
  async #recognise(): Promise<void> {
    const { file, reader, close } = this.#recognising!
    if (await reader.step()) return
    this.#recognising = null
    await close()
    const { hash } = reader.prefix.digest()
    const { length } = reader.prefix
    const same = this.#known
      .ofSize(file.input.size)
      .find(([, known]) => known.hash === hash && known.position === length)
    if (same === undefined) {
      await this.#open(file)
      return
    }
    file.skipped = true
    const [path, known] = [shownPath(file.input.path), shownPath(same[0])]
    this.#say('FILE_RECOGNISED', `${path} has the same content as ${known}, which was read: skipped.`)
  }

  /** The end of what is there: in a finite run, and before a further file, the end of the file. */
  #end(file: TrackedFile, cursor: Cursor, sink: RecordSink): void {
    file.atEnd = true
    const path = shownPath(file.input.path)
    if (cursor.damage !== null) {
      this.#say(
        'FILE_DAMAGED',
        `${path} cannot be read to its end (${cursor.damage}): read up to the last whole record.`,
      )
      file.complete = false
      return
    }
    const isFinal = this.#context.finite || file.settled
    // A file behind which another stands has ended, live too: time moves on with the next one.
    if (!isFinal && file === this.#files.at(-1)) {
      file.complete = cursor.isDrained
      return
    }
    const unread = cursor.finish(sink, isFinal)
    file.complete = unread === 0
    const position = cursor.prefix.length
    if (unread === 0 || file.saidUnfinishedAt === position) return
    file.saidUnfinishedAt = position
    const bytes = `${unread} ${unread === 1 ? 'byte' : 'bytes'} at the end without a newline or the like`
    this.#say('UNFINISHED_END', `${path}: ${bytes}: left for when the file grows.`)
  }

  #note(file: TrackedFile, cursor: Cursor): void {
    if (!file.atEnd) file.complete = false
    file.prefix = cursor.prefix
    file.lines = cursor.lines
    file.state = cursor.state
    file.consumed = cursor.consumed
    this.#moved.add(file)
    // At once, and not with the next transaction: whether a copy is skipped must not depend on when that is.
    if (file.complete) this.#known.set(file.input.realPath, recordOf(file))
  }

  /** @throws what it threw, unless the file is one that may be left alone */
  async #guarded(file: TrackedFile, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const mayRefuse = !this.#context.finite && !file.input.isNamed
      if (!mayRefuse || !(error instanceof SourceError)) throw error
      await this.close()
      if (error.code === 'FILE_MISSING') {
        // The next look finds it gone.
        file.atEnd = true
        return
      }
      file.refused = file.input.version
      this.#say('FILE_REFUSED', `${error.message} (Left alone until it changes; the others are read.)`)
    }
  }

  #sayVanished(file: TrackedFile): void {
    const { path, size } = file.input
    this.#say(
      'FILE_VANISHED',
      `${shownPath(path)} is gone, and was not read to its end (${file.consumed} of ${size} bytes were). ` +
        `Put it back to have the rest read.`,
    )
  }

  /** Each once, until it is mended. */
  #sayProblems(problems: readonly SourceError[]): void {
    const messages = new Set(problems.map(({ message }) => message))
    for (const message of messages) {
      if (!this.#problems.has(message)) this.#say('FILE_REFUSED', `${message} (The others are read.)`)
    }
    this.#problems = messages
  }

  #say(code: SourceNotice['code'], message: string): void {
    this.#context.notice({ code, source: this.#context.source, message })
  }
}
