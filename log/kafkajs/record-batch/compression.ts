/** The codecs of a batch of records: what Java's client writes can be read, and the other way round. */
import * as zlib from 'node:zlib'
import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import snappy from 'snappy'

/** In the order of their numbers in a batch's attributes. */
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type Compression = (typeof CODECS)[number]

/** More than a caller's bound allows; the bytes were not decompressed. */
export class TooLargeError extends Error {
  readonly code = 'DECOMPRESSED_TOO_LARGE'

  constructor(maxBytes: number) {
    super(`More than ${maxBytes} bytes when decompressed`)
    this.name = 'TooLargeError'
  }
}

export class ZstdMissingError extends Error {
  readonly code = 'ZSTD_MISSING'

  constructor() {
    super(
      `Node ${process.version} has no zstd: run on Node 22.15 or later, or have the topic's producers use ` +
        'gzip, lz4 or snappy',
    )
    this.name = 'ZstdMissingError'
  }
}

/** The codec's number in a batch's attributes. */
export function codecNumber(compression: Compression): number {
  return CODECS.indexOf(compression)
}

/** Undefined where there is no codec of this number. */
export function codecOf(number: number): Compression | undefined {
  return CODECS[number]
}

/** @throws ZstdMissingError */
export function compress(codec: Compression, bytes: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return zlib.gzipSync(bytes)
    case 'snappy':
      return compressXerial(bytes)
    case 'lz4':
      return compressFrameSync(bytes)
    case 'zstd':
      return zstd().zstdCompressSync(bytes)
  }
}

/**
 * @throws TooLargeError before more than `maxBytes` are made
 * @throws Error as the codec's library says it, where the bytes are damaged; ZstdMissingError
 */
export function decompress(codec: Compression, bytes: Buffer, maxBytes: number): Buffer {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return bounded(maxBytes, (options) => zlib.gunzipSync(bytes, options))
    case 'snappy':
      return decompressSnappy(bytes, maxBytes)
    case 'lz4':
      return decompressLz4(bytes, maxBytes)
    case 'zstd':
      return bounded(maxBytes, (options) => zstd().zstdDecompressSync(bytes, options))
  }
}

type Zstd = Pick<typeof zlib, 'zstdCompressSync' | 'zstdDecompressSync'>

function zstd(): Zstd {
  const found: Partial<Zstd> = zlib
  if (found.zstdCompressSync === undefined) throw new ZstdMissingError()
  return zlib
}

function bounded(maxBytes: number, run: (options: { maxOutputLength: number }) => Buffer): Buffer {
  try {
    return run({ maxOutputLength: Math.max(1, maxBytes) })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw new TooLargeError(maxBytes)
    throw error
  }
}

/**
 * Java wraps snappy in its library's own framing (xerial): this magic, two versions, then blocks with
 * their length before them. Others (librdkafka) write one bare block. Both are read, the framing written.
 */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const XERIAL_HEADER = Buffer.concat([XERIAL_MAGIC, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])

function compressXerial(bytes: Buffer): Buffer {
  const block = snappy.compressSync(bytes)
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(block.length)
  return Buffer.concat([XERIAL_HEADER, length, block])
}

function decompressSnappy(bytes: Buffer, maxBytes: number): Buffer {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappyBlock(bytes, maxBytes)
  const blocks: Buffer[] = []
  let made = 0
  let at = XERIAL_HEADER.length
  while (at < bytes.length) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32BE(at) : Infinity
    at += 4
    if (length > bytes.length - at) throw new Error('a snappy block is longer than what was sent')
    const block = snappyBlock(bytes.subarray(at, at + length), maxBytes - made)
    blocks.push(block)
    made += block.length
    at += length
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
}

/** A block says first, as a varint, how long it will be. */
function snappyBlock(block: Buffer, maxBytes: number): Buffer {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = block[i] ?? 0
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) break
  }
  if (length > maxBytes) throw new TooLargeError(maxBytes)
  return snappy.uncompressSync(block) as Buffer
}

const LZ4_MAGIC = 0x184d2204
const LZ4_STORED = 0x80000000
/** LZ4 turns a byte into at most so many. */
const LZ4_MAX_RATIO = 255

/** The library takes no bound, so the frame's own block sizes are added up first. */
function decompressLz4(bytes: Buffer, maxBytes: number): Buffer {
  if (lz4SizeBound(bytes) > maxBytes) throw new TooLargeError(maxBytes)
  return decompressFrameSync(bytes)
}

/** Walks the frame's blocks: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md */
function lz4SizeBound(bytes: Buffer): number {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== LZ4_MAGIC) throw new Error('no lz4 frame')
  const flags = bytes[4]!
  const blockMax = 2 ** (8 + 2 * ((bytes[5]! >> 4) & 7))
  const checksumBytes = flags & 0x10 ? 4 : 0
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let bound = 0
  for (;;) {
    if (at + 4 > bytes.length) throw new Error('an lz4 frame without its end mark')
    const word = bytes.readUInt32LE(at)
    if (word === 0) return bound
    const length = word & (LZ4_STORED - 1)
    bound += word >= LZ4_STORED ? length : Math.min(blockMax, length * LZ4_MAX_RATIO)
    at += 4 + length + checksumBytes
  }
}
