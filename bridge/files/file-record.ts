import { keys, parseStored, type StoredRecord } from '../positions.ts'
import { SourceError } from '../errors.ts'
import type { ByteInput } from './byte-input.ts'
import { shownPath, type InputPath } from './paths.ts'
import { PrefixHash, type PrefixDigest } from './prefix-hash.ts'

/** What is stored of a file, under its real path. */
export interface FileRecord extends PrefixDigest {
  /** Uncompressed byte of the first unfinished record; `hash` is of what precedes it. Of Parquet: all of it. */
  readonly position: number
  /** Lines before it; of a container, records that were read. */
  readonly lines: number
  /** What the format wants to know again there. */
  readonly state: string | null
  /** Bytes of the file as it lay on disk when it was read last. */
  readonly size: number
  /** Whether the position was the end of the file. */
  readonly complete: boolean
  /** Event time of records that have none, epoch ms: the file's time when it was first seen. */
  readonly fileTimeMs: number
}

/** The source's files, by real path. */
export function fileRecords(source: string, stored: ReadonlyMap<string, string>): Map<string, FileRecord> {
  const prefix = keys.files(source)
  const records = new Map<string, FileRecord>()
  for (const [key, value] of stored) {
    if (key.startsWith(prefix)) records.set(key.slice(prefix.length), parseStored<FileRecord>(key, value))
  }
  return records
}

export function encodeFileRecord(source: string, realPath: string, record: FileRecord): StoredRecord {
  return { key: keys.file(source, realPath), value: JSON.stringify(record) }
}

/** Hashes the first bytes of a file piece by piece, so that a long file holds nothing up. */
export class PrefixReader {
  readonly prefix = new PrefixHash()
  readonly #input: ByteInput
  readonly #upTo: number
  readonly #buffer: Buffer
  #headAtRecord: string | null = null
  readonly #headBytes: number

  /** @param headBytes where a digest is wanted on the way, to say where contents differ */
  constructor(input: ByteInput, upTo: number, headBytes: number, chunkBytes: number) {
    this.#input = input
    this.#upTo = upTo
    this.#headBytes = headBytes
    this.#buffer = Buffer.allocUnsafe(chunkBytes)
  }

  /** Hash of the first `headBytes` bytes; null when there are fewer. */
  get headHash(): string | null {
    return this.#headAtRecord
  }

  /** Reads one chunk on; false when `upTo` or the end of the file is reached. */
  async step(): Promise<boolean> {
    const { length } = this.prefix
    const next = length < this.#headBytes ? this.#headBytes : this.#upTo
    if (length === this.#upTo) return false
    const bytes = await this.#input.read(this.#buffer, 0, Math.min(this.#buffer.length, next - length))
    if (bytes === 0) return false
    this.prefix.update(this.#buffer.subarray(0, bytes))
    if (this.prefix.length === this.#headBytes) this.#headAtRecord = this.prefix.digest().hash
    return true
  }
}

const WAY_OUT =
  'Put the former content back, or give the new content under another path: it is then read from its beginning.'

/**
 * Compares what was read of a file with what stands there now.
 * @throws SourceError FILE_TRUNCATED or FILE_CHANGED, with what differs and the way out
 */
export function checkUnchanged(input: Pick<InputPath, 'path'>, record: FileRecord, now: PrefixReader): void {
  const { position, hash, headHash, headBytes } = record
  if (now.prefix.length < position) throw truncated(input, position, now.prefix.length)
  if (now.prefix.digest().hash === hash) return
  const where = now.headHash === headHash ? 'behind its first' : 'within its first'
  throw new SourceError(
    'FILE_CHANGED',
    `${shownPath(input.path)} was read up to byte ${position}, and what stands before that has changed since, ` +
      `${where} ${headBytes} bytes. Nothing more of it was read. ${WAY_OUT}`,
  )
}

export function truncated({ path }: Pick<InputPath, 'path'>, position: number, length: number): SourceError {
  return new SourceError(
    'FILE_TRUNCATED',
    `${shownPath(path)} was read up to byte ${position} and now has only ${length} bytes. Nothing more of it was read. ${WAY_OUT}`,
  )
}
