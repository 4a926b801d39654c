import { crc32 } from 'node:zlib'
import { open, type RootDatabase } from 'lmdb'
import { roomIn } from '../../config/disk.ts'
import { LogError } from '../errors.ts'
import { lmdbDamage } from '../lmdb-file.ts'
import type { Change, SegmentRef, SegmentStorage } from './storage.ts'

const SEGMENT = 1
const ENTRY = 2
const SEGMENT_KEY_BYTES = 32
/** Behind a segment's bytes. Segments of before there were any have none. */
const CHECKSUM_BYTES = 4

/**
 * Segments and entries in one lmdb database. A write is one lmdb batch: lmdb's own thread commits it
 * and syncs before the promise resolves.
 *
 * @throws LogError STORAGE when the directory cannot be opened, DAMAGED when what it holds is no log
 */
export function openLmdbStorage(directory: string, mapBytes: number, readOnly: boolean): SegmentStorage {
  try {
    const damage = lmdbDamage(directory)
    if (damage !== null) throw damaged(damage)
    return new LmdbStorage(
      directory,
      readOnly,
      open<Buffer, Buffer>({
        path: directory,
        readOnly,
        noSubdir: false,
        keyEncoding: 'binary',
        encoding: 'binary',
        mapSize: mapBytes,
        maxDbs: 1,
        // Commit and sync are one step: a commit that is visible and not yet on disk is a state
        // that nobody here could use, and a failed sync would leave `flushed` pending for ever.
        overlappingSync: false,
        // Otherwise lmdb keeps a promise of its own for each turn, whose rejection nobody can handle:
        // a full disk would end the process.
        eventTurnBatching: false,
      }),
    )
  } catch (error) {
    if (error instanceof LogError) throw error
    throw new LogError('STORAGE', `The log in ${directory} cannot be opened: ${String(error)}`, {
      cause: error,
    })
  }
}

class LmdbStorage implements SegmentStorage {
  readonly #directory: string
  readonly #readOnly: boolean
  readonly #db: RootDatabase<Buffer, Buffer>

  constructor(directory: string, readOnly: boolean, db: RootDatabase<Buffer, Buffer>) {
    this.#readOnly = readOnly
    this.#directory = directory
    this.#db = db
  }

  entries(): Iterable<readonly [string, string]> {
    return reading(() => {
      const found: [string, string][] = []
      const range = { start: Buffer.from([ENTRY]), end: Buffer.from([ENTRY + 1]) }
      for (const { key, value } of this.#db.getRange(range)) {
        found.push([key.toString('utf8', 1), value.toString('utf8')])
      }
      return found
    })
  }

  segmentsFrom(partitionId: number, offset: number, limit: number): SegmentRef[] {
    return reading(() => {
      const start = seekKey(partitionId, offset)
      const end = seekKey(partitionId + 1, 0)
      const found: SegmentRef[] = []
      for (const key of this.#db.getKeys({ start, end, limit })) found.push(decodeKey(key))
      return found
    })
  }

  read(segment: SegmentRef): Buffer | null {
    // getBinary copies out of the map: a view would change under its holder when the page is reused.
    const value = reading(() => this.#db.getBinary(encodeKey(segment)))
    if (value === undefined) return null
    return unsealed(value.byteOffset % 8 === 0 ? value : alignedCopy(value), segment, this.#directory)
  }

  async write(changes: readonly Change[]): Promise<void> {
    if (this.#readOnly) throw new Error('it was opened for reading only')
    try {
      await this.#db.batch(() => {
        for (const change of changes) this.#apply(change)
      })
    } catch (error) {
      const reason = await reasonOf(error)
      const said = reason instanceof Error ? reason.message : String(reason)
      throw new Error(`${said}; ${roomIn(this.#directory)}`, { cause: reason })
    }
  }

  async close(): Promise<void> {
    await this.#db.close()
  }

  #apply(change: Change): void {
    const key = 'segment' in change ? encodeKey(change.segment) : entryKey(change.entry)
    const value =
      typeof change.value === 'string' ? Buffer.from(change.value) : change.value && sealed(change.value)
    const written = value === null ? this.#db.remove(key) : this.#db.put(key, value)
    // The batch's promise tells; this one rejects too, with the reason in `commitError`.
    written.catch(reasonOf)
  }
}

/** With a checksum behind it. */
function sealed(segment: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(segment.length + CHECKSUM_BYTES)
  bytes.set(segment)
  bytes.writeUInt32LE(crc32(segment), segment.length)
  return bytes
}

/** What {@link sealed} was given, if it still is. */
function unsealed(
  bytes: Buffer,
  { byteLength, partitionId, baseOffset }: SegmentRef,
  directory: string,
): Buffer {
  const segment = bytes.subarray(0, byteLength)
  const hasNone = bytes.length === byteLength
  if (
    hasNone ||
    (bytes.length === byteLength + CHECKSUM_BYTES && crc32(segment) === bytes.readUInt32LE(byteLength))
  ) {
    return segment
  }
  throw damaged(
    `the segment of partition ${partitionId} from offset ${baseOffset} on in ${directory} has changed`,
  )
}

/** @param why what was found */
export function damaged(why: string, cause?: unknown): LogError {
  return new LogError(
    'DAMAGED',
    `The log is damaged: ${why}. Restore the whole data directory from a copy, or move it away and run again on ` +
      `the same input: all that is in it is made of that.`,
    { cause },
  )
}

function reading<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (/MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID)/.test(String(error))) throw damaged(String(error), error)
    throw new LogError('STORAGE', `The log's file cannot be read: ${String(error)}`, {
      cause: error,
    })
  }
}

/** A full disk shows as EIO on one promise, and as "commit failed" with a further promise on another. */
async function reasonOf(error: unknown): Promise<unknown> {
  const reason = (error as { commitError?: Promise<unknown> }).commitError
  if (reason === undefined) return error
  return await reason.then(
    () => error,
    (cause: unknown) => cause,
  )
}

function alignedCopy(value: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(value.length)
  value.copy(copy)
  return copy
}

function entryKey(name: string): Buffer {
  const key = Buffer.allocUnsafe(1 + Buffer.byteLength(name))
  key[0] = ENTRY
  key.write(name, 1)
  return key
}

function seekKey(partitionId: number, lastOffset: number): Buffer {
  const key = Buffer.allocUnsafe(11)
  key[0] = SEGMENT
  key.writeUInt32BE(partitionId, 1)
  key.writeUIntBE(lastOffset, 5, 6)
  return key
}

/** The key is the whole index entry; the partition and the last offset order it. */
function encodeKey(segment: SegmentRef): Buffer {
  const key = Buffer.allocUnsafe(SEGMENT_KEY_BYTES)
  key[0] = SEGMENT
  key.writeUInt32BE(segment.partitionId, 1)
  key.writeUIntBE(segment.lastOffset, 5, 6)
  key.writeUIntBE(segment.baseOffset, 11, 6)
  key.writeUIntBE(segment.timestampMs, 17, 6)
  key.writeUInt32BE(segment.count, 23)
  key.writeUInt32BE(segment.byteLength, 27)
  key[31] = segment.perRecordTimes ? 1 : 0
  return key
}

function decodeKey(key: Buffer): SegmentRef {
  return {
    partitionId: key.readUInt32BE(1),
    lastOffset: key.readUIntBE(5, 6),
    baseOffset: key.readUIntBE(11, 6),
    timestampMs: key.readUIntBE(17, 6),
    count: key.readUInt32BE(23),
    byteLength: key.readUInt32BE(27),
    perRecordTimes: key[31] === 1,
  }
}
