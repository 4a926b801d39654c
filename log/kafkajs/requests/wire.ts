/** Kafka's primitive types, written and read. Names follow the protocol guide: compact ones are the flexible versions'. */
import { ByteWriter } from '../../batch.ts'

const TWO_32 = 0x1_0000_0000
const UUID_BYTES = 16
const NO_UUID = Buffer.alloc(UUID_BYTES)

/** A response that its own lengths contradict: the connection is of no more use. */
export class MalformedResponseError extends Error {
  readonly code = 'MALFORMED_RESPONSE'

  constructor(apiName: string, position: number, length: number) {
    super(
      `Kafka's ${apiName} response ends early: ${length} bytes, more wanted at ${position}. ` +
        'Close the connection and ask again; if it comes back, look for a proxy that cuts responses',
    )
    this.name = 'MalformedResponseError'
  }
}

export class WireWriter {
  readonly #out: ByteWriter
  readonly #parts: Uint8Array[] = []
  #partStart = 0

  constructor(initialBytes: number) {
    this.#out = new ByteWriter(initialBytes)
  }

  /** What was written, in order; records stand where they are. */
  get parts(): Uint8Array[] {
    return [...this.#parts, this.#out.buffer.subarray(this.#partStart, this.#out.position)]
  }

  /** All of it in one buffer, under KafkaJS's two names for that. */
  get buffer(): Buffer {
    return Buffer.concat(this.parts)
  }

  get buf(): Buffer {
    return this.buffer
  }

  bool(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  int8(value: number): void {
    this.#out.ensure(1)
    this.#out.position = this.#out.buffer.writeInt8(value, this.#out.position)
  }

  int16(value: number): void {
    this.#out.ensure(2)
    this.#out.position = this.#out.buffer.writeInt16BE(value, this.#out.position)
  }

  int32(value: number): void {
    this.#out.ensure(4)
    this.#out.position = this.#out.buffer.writeInt32BE(value, this.#out.position)
  }

  /** Safe integers only, which Kafka's offsets, ids and times are. */
  int64(value: number): void {
    this.#out.ensure(8)
    writeInt64(this.#out.buffer, value, this.#out.position)
    this.#out.position += 8
  }

  string(value: string | null): void {
    if (value === null) {
      this.int16(-1)
      return
    }
    const bytes = Buffer.from(value, 'utf8')
    this.int16(bytes.length)
    this.#out.bytes(bytes)
  }

  compactString(value: string | null): void {
    if (value === null) {
      this.uvarint(0)
      return
    }
    const bytes = Buffer.from(value, 'utf8')
    this.uvarint(bytes.length + 1)
    this.#out.bytes(bytes)
  }

  /** RECORDS, with its int32 length. They are not copied. */
  records(value: Uint8Array): void {
    this.int32(value.length)
    this.#parts.push(this.#out.buffer.subarray(this.#partStart, this.#out.position), value)
    this.#partStart = this.#out.position
  }

  array<T>(items: readonly T[], write: (item: T) => void): void {
    this.int32(items.length)
    items.forEach(write)
  }

  /** The elements end with their own tag buffers where they are structures. */
  compactArray<T>(items: readonly T[] | null, write: (item: T) => void): void {
    this.uvarint(items === null ? 0 : items.length + 1)
    items?.forEach(write)
  }

  noUuid(): void {
    this.#out.bytes(NO_UUID)
  }

  /** The empty tag buffer that ends every structure of a flexible version. */
  noTags(): void {
    this.int8(0)
  }

  uvarint(value: number): void {
    this.#out.ensure(5)
    let rest = value >>> 0
    while (rest > 0x7f) {
      this.#out.buffer[this.#out.position++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#out.buffer[this.#out.position++] = rest
  }
}

/** Never reads past its buffer. @throws MalformedResponseError */
export class WireReader {
  readonly #buffer: Buffer
  readonly #apiName: string
  #position = 0

  constructor(buffer: Buffer, apiName: string) {
    this.#buffer = buffer
    this.#apiName = apiName
  }

  bool(): boolean {
    return this.int8() !== 0
  }

  int8(): number {
    return this.#buffer.readInt8(this.#take(1))
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  int64(): number {
    return readInt64(this.#buffer, this.#take(8))
  }

  /** Null becomes ''. */
  string(): string {
    return this.nullableString() ?? ''
  }

  nullableString(): string | null {
    return this.#utf8(this.int16())
  }

  compactString(): string {
    return this.compactNullableString() ?? ''
  }

  compactNullableString(): string | null {
    return this.#utf8(this.uvarint() - 1)
  }

  /** RECORDS: a view over the response, empty where null. */
  records(): Buffer {
    const length = Math.max(0, this.int32())
    const start = this.#take(length)
    return this.#buffer.subarray(start, start + length)
  }

  /** A view over the response, empty where null. */
  compactBytes(): Buffer {
    const length = Math.max(0, this.uvarint() - 1)
    const start = this.#take(length)
    return this.#buffer.subarray(start, start + length)
  }

  array<T>(read: () => T): T[] {
    return this.#items(this.int32(), read)
  }

  compactArray<T>(read: () => T): T[] {
    return this.#items(this.uvarint() - 1, read)
  }

  /** As Kafka prints it (base64url); null where all zero. */
  uuid(): string | null {
    const start = this.#take(UUID_BYTES)
    const bytes = this.#buffer.subarray(start, start + UUID_BYTES)
    return bytes.equals(NO_UUID) ? null : bytes.toString('base64url')
  }

  skipTags(): void {
    const count = this.uvarint()
    for (let i = 0; i < count; i++) {
      this.uvarint()
      this.#take(this.uvarint())
    }
  }

  uvarint(): number {
    let result = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#buffer[this.#take(1)]!
      result |= (byte & 0x7f) << shift
      if (byte < 0x80) return result >>> 0
    }
    return this.#fail()
  }

  #items<T>(count: number, read: () => T): T[] {
    // Not made in one go: a count may lie, and the reading of what is not there ends it.
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  #utf8(length: number): string | null {
    if (length < 0) return null
    const start = this.#take(length)
    return this.#buffer.toString('utf8', start, start + length)
  }

  #take(bytes: number): number {
    const start = this.#position
    if (bytes > this.#buffer.length - start) this.#fail()
    this.#position = start + bytes
    return start
  }

  #fail(): never {
    throw new MalformedResponseError(this.#apiName, this.#position, this.#buffer.length)
  }
}

export function writeInt64(buffer: Buffer, value: number, position: number): void {
  buffer.writeInt32BE(Math.floor(value / TWO_32), position)
  buffer.writeUInt32BE(value >>> 0, position + 4)
}

/** Exact up to 2^53. */
export function readInt64(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position) * TWO_32 + buffer.readUInt32BE(position + 4)
}
