/**
 * Records travel as batches over one buffer: no object per record. A record is a row of
 * positions (stride {@link STRIDE}) into the batch's buffer; -1 marks a null key or value.
 * Headers keep Kafka's v2 encoding (zigzag varint count, then length-prefixed name and value),
 * so that a Kafka batch can be handed on without a copy.
 */
export const KEY_START = 0
export const KEY_END = 1
export const VALUE_START = 2
export const VALUE_END = 3
export const HEADERS_START = 4
export const HEADERS_END = 5
export const OFFSET_DELTA = 6
export const STRIDE = 7

/** Of the memory that a batch lies in. */
export interface Lease {
  release(): void
}

/** Consecutive records of one partition, in offset order. Offsets may have gaps (compaction, marks). */
export class RecordBatch {
  readonly topic: string
  readonly partition: number
  readonly buffer: Buffer
  readonly positions: Int32Array
  readonly count: number
  readonly baseOffset: number
  /** The offset to read from after this batch; at least the last record's offset + 1. */
  readonly nextOffset: number
  /** Time of ingestion (append time), epoch ms, of every record of the batch. */
  readonly timestampMs: number
  /** Per-record ingestion times, where a topic holds its producers' times; else null. */
  readonly timestampsMs: Float64Array | null
  #lease: Lease | null = null

  constructor(fields: {
    topic: string
    partition: number
    buffer: Buffer
    positions: Int32Array
    count: number
    baseOffset: number
    nextOffset: number
    timestampMs: number
    timestampsMs?: Float64Array | null
  }) {
    this.topic = fields.topic
    this.partition = fields.partition
    this.buffer = fields.buffer
    this.positions = fields.positions
    this.count = fields.count
    this.baseOffset = fields.baseOffset
    this.nextOffset = fields.nextOffset
    this.timestampMs = fields.timestampMs
    this.timestampsMs = fields.timestampsMs ?? null
  }

  /** Its memory is lent: whoever made it is told when it is released. */
  hold(lease: Lease): void {
    this.#lease = lease
  }

  /** Nobody looks at it any more: its memory may go at once. Need not be called. */
  release(): void {
    const lease = this.#lease
    this.#lease = null
    lease?.release()
  }

  /** Its records from one index to another. @param nextOffset where to read on behind them */
  slice(from: number, to: number, nextOffset = this.#nextOffsetAt(to)): RecordBatch {
    const { topic, partition, buffer, timestampMs, timestampsMs } = this
    const positions = this.positions.slice(from * STRIDE, to * STRIDE)
    const baseOffset = this.offsetAt(from)
    const moved = baseOffset - this.baseOffset
    for (let row = 0; row < positions.length; row += STRIDE) positions[row + OFFSET_DELTA]! -= moved
    return new RecordBatch({
      topic,
      partition,
      buffer,
      positions,
      count: to - from,
      baseOffset,
      nextOffset,
      timestampMs,
      timestampsMs: timestampsMs === null ? null : timestampsMs.slice(from, to),
    })
  }

  /** Its records below an offset that lies within it. */
  before(offset: number): RecordBatch {
    let count = 0
    while (count < this.count && this.offsetAt(count) < offset) count++
    return this.slice(0, count, offset)
  }

  #nextOffsetAt(index: number): number {
    return index === this.count ? this.nextOffset : this.offsetAt(index - 1) + 1
  }

  offsetAt(index: number): number {
    return this.baseOffset + this.positions[index * STRIDE + OFFSET_DELTA]!
  }

  timestampAt(index: number): number {
    return this.timestampsMs === null ? this.timestampMs : this.timestampsMs[index]!
  }

  /** The key's bytes, a view over the batch's buffer, or null. */
  keyAt(index: number): Buffer | null {
    const row = index * STRIDE
    const end = this.positions[row + KEY_END]!
    return end < 0 ? null : this.buffer.subarray(this.positions[row + KEY_START]!, end)
  }

  /** The value's bytes, a view over the batch's buffer, or null (a tombstone). */
  valueAt(index: number): Buffer | null {
    const row = index * STRIDE
    const end = this.positions[row + VALUE_END]!
    return end < 0 ? null : this.buffer.subarray(this.positions[row + VALUE_START]!, end)
  }

  hasHeaders(index: number): boolean {
    const row = index * STRIDE
    return this.positions[row + HEADERS_END]! > this.positions[row + HEADERS_START]!
  }

  /** The value of the named header, or undefined. Meant for the rare record, not for the hot path. */
  headerAt(index: number, name: string): Buffer | undefined {
    const row = index * STRIDE
    const reader = { buffer: this.buffer, position: this.positions[row + HEADERS_START]! }
    if (this.positions[row + HEADERS_END]! <= reader.position) return undefined
    const count = readVarint(reader)
    for (let i = 0; i < count; i++) {
      const nameEnd = readVarint(reader) + reader.position
      const found = this.buffer.toString('utf8', reader.position, nameEnd)
      reader.position = nameEnd
      // -1: no value.
      const valueEnd = Math.max(0, readVarint(reader)) + reader.position
      if (found === name) return this.buffer.subarray(reader.position, valueEnd)
      reader.position = valueEnd
    }
    return undefined
  }
}

/** Up to here a loop is quicker than a call into the engine. */
const SMALL_BYTES = 40

/** Where encoders write: grow with `ensure`, write at `position`, move `position`. */
export class ByteWriter {
  buffer: Buffer
  position = 0

  constructor(initialBytes = 4096) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes)
  }

  /** Makes room for `bytes` more; `buffer` may be another object afterwards. */
  ensure(bytes: number): void {
    const needed = this.position + bytes
    if (needed <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2))
    this.buffer.copy(grown, 0, 0, this.position)
    this.buffer = grown
  }

  bytes(source: Uint8Array): void {
    this.ensure(source.length)
    this.buffer.set(source, this.position)
    this.position += source.length
  }

  /** The bytes of `source` in [start, end). */
  range(source: Uint8Array, start: number, end: number): void {
    this.ensure(end - start)
    this.overwrite(this.position, source, start, end)
    this.position += end - start
  }

  /** The same at `at`, where there is room for it. */
  overwrite(at: number, source: Uint8Array, start: number, end: number): void {
    const { buffer } = this
    const length = end - start
    if (length <= SMALL_BYTES) for (let i = 0; i < length; i++) buffer[at + i] = source[start + i]!
    else buffer.set(source.subarray(start, end), at)
  }

  utf8(text: string): void {
    this.ensure(text.length * 3)
    this.position += this.buffer.write(text, this.position, 'utf8')
  }
}

/** What a producer sends: one partition's records over one buffer. */
export interface ProduceBatch {
  readonly topic: string
  readonly partition: number
  readonly buffer: Buffer
  /** Bytes of `buffer` in use. */
  readonly byteLength: number
  readonly positions: Int32Array
  readonly count: number
}

export type Headers = Record<string, Uint8Array>

/**
 * Builds a {@link ProduceBatch}. Either `append` whole records, or write straight into `writer`
 * between `beginKey`, `beginValue` and `end`. Reusable after `clear()`.
 */
export class BatchBuilder implements ProduceBatch {
  readonly topic: string
  readonly partition: number
  readonly writer: ByteWriter
  positions = new Int32Array(STRIDE * 64)
  count = 0

  constructor(topic: string, partition: number, writer = new ByteWriter()) {
    this.topic = topic
    this.partition = partition
    this.writer = writer
  }

  get buffer(): Buffer {
    return this.writer.buffer
  }

  get byteLength(): number {
    return this.writer.position
  }

  append(key: Uint8Array | null, value: Uint8Array | null, headers?: Headers): void {
    this.beginKey()
    if (key !== null) this.writer.bytes(key)
    this.beginValue(key === null)
    if (value !== null) this.writer.bytes(value)
    this.end(value === null, headers)
  }

  /** Starts a record: what is written until `beginValue` is its key. */
  beginKey(): void {
    const row = this.count * STRIDE
    if (row + STRIDE > this.positions.length) {
      const grown = new Int32Array(this.positions.length * 2)
      grown.set(this.positions)
      this.positions = grown
    }
    this.positions[row + KEY_START] = this.writer.position
  }

  beginValue(keyIsNull = false): void {
    const row = this.count * STRIDE
    this.positions[row + KEY_END] = keyIsNull ? -1 : this.writer.position
    this.positions[row + VALUE_START] = this.writer.position
  }

  end(valueIsNull = false, headers?: Headers): void {
    const row = this.count * STRIDE
    this.positions[row + VALUE_END] = valueIsNull ? -1 : this.writer.position
    this.positions[row + HEADERS_START] = this.writer.position
    if (headers !== undefined) writeHeaders(this.writer, headers)
    this.positions[row + HEADERS_END] = this.writer.position
    this.positions[row + OFFSET_DELTA] = this.count
    this.count++
  }

  /** Gives up a record begun and not ended. */
  abandon(): void {
    this.writer.position = this.positions[this.count * STRIDE + KEY_START]!
  }

  clear(): void {
    this.count = 0
    this.writer.position = 0
  }
}

function writeHeaders(writer: ByteWriter, headers: Headers): void {
  const names = Object.keys(headers)
  writeVarint(writer, names.length)
  for (const name of names) {
    const text = Buffer.from(name, 'utf8')
    writeVarint(writer, text.length)
    writer.bytes(text)
    writeVarint(writer, headers[name]!.length)
    writer.bytes(headers[name]!)
  }
}

function writeVarint(writer: ByteWriter, value: number): void {
  writer.ensure(5)
  let rest = ((value << 1) ^ (value >> 31)) >>> 0
  while (rest > 0x7f) {
    writer.buffer[writer.position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  writer.buffer[writer.position++] = rest
}

function readVarint(reader: { buffer: Buffer; position: number }): number {
  let result = 0
  let shift = 0
  for (;;) {
    const byte = reader.buffer[reader.position++]!
    result |= (byte & 0x7f) << shift
    // Also where damaged headers run past the buffer, which reads undefined.
    if (!(byte >= 0x80)) break
    shift += 7
  }
  return (result >>> 1) ^ -(result & 1)
}
