import avro, { type Type } from 'avsc'
import { crc32, inflateRawSync } from 'node:zlib'
import { uncompressSync } from 'snappy'
import { SourceError } from '../errors.ts'
import { openBytes, type ByteInput } from '../files/byte-input.ts'
import type { Cursor, CursorOptions } from '../files/cursor.ts'
import { shownPath } from '../files/paths.ts'
import type { PrefixHash } from '../files/prefix-hash.ts'
import { RowOrigin } from '../files/row-origin.ts'
import type { RecordSink } from '../reader.ts'
import { recordTypeOf, longType } from './avro-types.ts'
import { checkColumns } from './columns.ts'
import type { ContainerFormat } from './format.ts'

/** Avro object container files; by blocks, so that one that is appended to is read on. */
export const avroFile: ContainerFormat = {
  kind: 'container',
  name: 'avro',
  description: 'Avro object container file',
  open: openAvro,
}

const MAX_HEADER_BYTES = 4 << 20
/** Of one block as it lies in the file, and uncompressed. */
const MAX_BLOCK_BYTES = 64 << 20
const SYNC_BYTES = 16

type Decompress = (bytes: Buffer) => Buffer

const CODECS: Readonly<Record<string, Decompress>> = {
  null: (bytes) => bytes,
  deflate: (bytes) => inflateRawSync(bytes, { maxOutputLength: MAX_BLOCK_BYTES }),
  snappy: unsnap,
}

interface Header {
  readonly byteLength: number
  readonly type: Type
  readonly decompress: Decompress
  readonly sync: Buffer
}

async function openAvro(options: CursorOptions): Promise<Cursor> {
  const { path, prefix, fields } = options
  const beginning = await openBytes(path, 0)
  let header: Header
  try {
    header = await readHeader(path, beginning)
  } finally {
    await beginning.close()
  }
  checkColumns(path, columnsOf(header.type), fields)
  return new AvroCursor(options, header, await openBytes(path, prefix.length))
}

class AvroCursor implements Cursor {
  readonly state = null
  readonly prefix: PrefixHash
  readonly #options: CursorOptions
  readonly #header: Header
  readonly #input: ByteInput
  readonly #origin: RowOrigin
  /** From the position on. */
  #pending: Buffer = Buffer.alloc(0)
  #lines: number
  #damage: string | null = null

  constructor(options: CursorOptions, header: Header, input: ByteInput) {
    this.#options = options
    this.#header = header
    this.#input = input
    this.prefix = options.prefix
    this.#lines = options.lines
    this.#origin = new RowOrigin(options.path, options.fileTimeMs)
  }

  get lines(): number {
    return this.#lines
  }

  get isDrained(): boolean {
    return this.#pending.length === 0
  }

  get isGzip(): boolean {
    return this.#input.isGzip
  }

  get consumed(): number {
    return this.#input.consumed
  }

  get damage(): string | null {
    return this.#damage ?? this.#input.damage
  }

  async read(sink: RecordSink): Promise<boolean> {
    const chunk = Buffer.allocUnsafe(this.#options.limits.chunkBytes)
    const bytes = await this.#input.read(chunk, 0, chunk.length)
    if (bytes === 0 || this.#damage !== null) return false
    this.#pending = Buffer.concat([this.#pending, chunk.subarray(0, bytes)])
    if (this.prefix.length === 0) {
      if (this.#pending.length < this.#header.byteLength) return true
      this.#finish(this.#header.byteLength)
    }
    while (this.#takeBlock(sink));
    return this.damage === null
  }

  finish(): number {
    return this.#pending.length
  }

  async close(): Promise<void> {
    await this.#input.close()
  }

  /** Whether there was a whole one. */
  #takeBlock(sink: RecordSink): boolean {
    const count = longType.decode(this.#pending, 0) as { value: number; offset: number }
    if (count.offset < 0) return false
    const size = longType.decode(this.#pending, count.offset) as { value: number; offset: number }
    if (size.offset < 0) return false
    const end = size.offset + size.value
    if (count.value < 0 || size.value < 0 || size.value > MAX_BLOCK_BYTES) {
      this.#damage = `byte ${this.prefix.length} begins no block of at most ${MAX_BLOCK_BYTES} bytes`
      return false
    }
    if (this.#pending.length < end + SYNC_BYTES) return false
    if (!this.#pending.subarray(end, end + SYNC_BYTES).equals(this.#header.sync)) {
      this.#damage = `the block at byte ${this.prefix.length} does not end with the file's sync marker`
      return false
    }
    this.#giveBlock(sink, this.#pending.subarray(size.offset, end), count.value)
    this.#lines += count.value
    this.#finish(end + SYNC_BYTES)
    return true
  }

  #giveBlock(sink: RecordSink, block: Buffer, count: number): void {
    const position = this.prefix.length
    const { type, decompress } = this.#header
    const bytesEach = Math.ceil(block.length / Math.max(1, count))
    let given = 0
    try {
      const bytes = decompress(block)
      for (let at = 0; given < count; given++) {
        const { value, offset } = type.decode(bytes, at) as { value: object | undefined; offset: number }
        if (value === undefined) throw new Error('it ends within a record')
        at = offset
        // A copy, since the contract casts in place.
        sink.value({ ...value }, this.#origin.at(value, position, this.#lines + given + 1, bytesEach))
      }
    } catch (error) {
      const reason =
        `record ${given + 1} of ${count} in its block, and those behind it, cannot be decoded: ` +
        (error as Error).message
      sink.reject(reason, null, this.#origin.at(block, position, this.#lines + given + 1, block.length))
    }
  }

  #finish(bytes: number): void {
    this.prefix.update(this.#pending.subarray(0, bytes))
    this.#pending = this.#pending.subarray(bytes)
  }
}

const headerType = avro.Type.forSchema({
  type: 'record',
  name: 'Header',
  fields: [
    { name: 'magic', type: { type: 'fixed', name: 'Magic', size: 4 } },
    { name: 'meta', type: { type: 'map', values: 'bytes' } },
    { name: 'sync', type: { type: 'fixed', name: 'Sync', size: SYNC_BYTES } },
  ],
} as never)

interface RawHeader {
  readonly magic: Buffer
  readonly meta: Readonly<Record<string, Buffer>>
  readonly sync: Buffer
}

async function readHeader(path: string, input: ByteInput): Promise<Header> {
  let bytes: Buffer = Buffer.alloc(0)
  const chunk = Buffer.allocUnsafe(64 << 10)
  for (;;) {
    const read = await input.read(chunk, 0, chunk.length)
    bytes = Buffer.concat([bytes, chunk.subarray(0, read)])
    if (bytes.length >= MAGIC.length && !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
      throw notAvro(path, 'it does not begin with Obj1')
    }
    const { value, offset } = headerType.decode(bytes, 0) as { value: RawHeader; offset: number }
    if (offset >= 0) return headerOf(path, value, offset)
    if (read === 0) throw notAvro(path, 'it ends within its header')
    if (bytes.length > MAX_HEADER_BYTES) throw notAvro(path, `its header has over ${MAX_HEADER_BYTES} bytes`)
  }
}

const MAGIC = Buffer.from('Obj\u0001', 'latin1')

function headerOf(path: string, { meta, sync }: RawHeader, byteLength: number): Header {
  const codec = meta['avro.codec']?.toString() ?? 'null'
  const decompress = Object.hasOwn(CODECS, codec) ? CODECS[codec] : undefined
  if (decompress === undefined) {
    throw notAvro(path, `its codec is '${codec}', and only ${Object.keys(CODECS).join(', ')} are known`)
  }
  let type: Type
  try {
    type = recordTypeOf(meta['avro.schema']?.toString() ?? '')
  } catch (error) {
    throw notAvro(path, `its schema cannot be used: ${(error as Error).message}`)
  }
  return { byteLength, type, decompress, sync: Buffer.from(sync) }
}

function notAvro(path: string, why: string): SourceError {
  return new SourceError(
    'FILE_FORMAT',
    `${shownPath(path)} cannot be read as an Avro object container file: ${why}. Write it anew, or name its ` +
      `format with --format.`,
  )
}

function columnsOf(type: Type): string[] {
  return (type as unknown as { fields: { name: string }[] }).fields.map(({ name }) => name)
}

/** Snappy with the CRC32 of what it holds behind it, as Avro has it. */
function unsnap(block: Buffer): Buffer {
  const bytes = uncompressSync(block.subarray(0, -4)) as Buffer
  if (crc32(bytes) !== block.readUInt32BE(block.length - 4)) throw new Error('its checksum is wrong')
  return bytes
}
