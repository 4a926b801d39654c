import { isUtf8 } from 'node:buffer'
import { ByteWriter } from '../../../log/batch.ts'
import { contentStart } from '../../../schemas/codec/bytes.ts'
import { Schema, type FieldDefinition, type Row } from '../../../schemas/schema.ts'
import type { ExtendedView } from './stateless.ts'

/**
 * The key of a value as bytes, equal where the key columns are: rewritten by each `read`. Valid until the next one,
 * or until the value's own bytes go.
 */
export interface KeyBytes {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  read(value: unknown): void
}

/** The bytes that a view lies over, field by field. */
interface FieldBytes {
  readonly $buffer: Buffer
  $startOf(fieldIndex: number): number
}

/** The fields that a value lies over as a view; `isExtended`: with columns more. */
export interface ViewFields {
  readonly fields: readonly FieldDefinition[]
  readonly isExtended: boolean
}

/** One text is its own key. */
export function isText(columns: readonly FieldDefinition[]): boolean {
  return columns.length === 1 && columns[0]!.kind === 'string' && !columns[0]!.optional
}

/**
 * One text: its UTF-8. Else the columns' Avro, behind one another ({@link keySchema}).
 * @param view null: values are objects
 */
export function keyBytesOf(columns: readonly FieldDefinition[], view: ViewFields | null): KeyBytes {
  const indexes = columns.map(({ name }) => view?.fields.findIndex((field) => field.name === name) ?? -1)
  if (view === null || indexes.includes(-1)) {
    return isText(columns) ? new WrittenText(columns[0]!.name) : new EncodedKey(columns)
  }
  if (isText(columns)) return new TextInPlace(indexes[0]!, view.isExtended)
  return new CopiedFields(columns, indexes, view.isExtended)
}

export function keySchema(columns: readonly FieldDefinition[]): Schema {
  return new Schema('Key', columns)
}

function viewOf(value: unknown, isExtended: boolean): FieldBytes {
  return (isExtended ? (value as ExtendedView).$base : value) as FieldBytes
}

/** The field's bytes where they lie. */
class TextInPlace implements KeyBytes {
  buffer: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  readonly #index: number
  readonly #isExtended: boolean

  constructor(index: number, isExtended: boolean) {
    this.#index = index
    this.#isExtended = isExtended
  }

  read(value: unknown): void {
    const view = viewOf(value, this.#isExtended)
    const buffer = view.$buffer
    const end = view.$startOf(this.#index + 1)
    const start = contentStart(buffer, view.$startOf(this.#index))
    this.buffer = buffer
    this.start = start
    this.end = end
    if (isSoundText(buffer, start, end)) return
    // As it is read: bytes that are no UTF-8 as U+FFFD.
    this.buffer = Buffer.from(buffer.toString('utf8', start, end))
    this.start = 0
    this.end = this.buffer.length
  }
}

/** A text's bytes, written from the value. */
class WrittenText implements KeyBytes {
  start = 0
  readonly #name: string
  readonly #writer = new ByteWriter(64)

  constructor(name: string) {
    this.#name = name
  }

  get buffer(): Buffer {
    return this.#writer.buffer
  }

  get end(): number {
    return this.#writer.position
  }

  read(value: unknown): void {
    this.#writer.position = 0
    this.#writer.utf8((value as Row)[this.#name] as string)
  }
}

/** Written from the values, each in the one form that Avro's writers give it. */
class EncodedKey implements KeyBytes {
  start = 0
  readonly #names: readonly string[]
  readonly #schema: Schema
  readonly #row: Row = {}
  readonly #writer = new ByteWriter(64)

  constructor(columns: readonly FieldDefinition[]) {
    this.#names = columns.map(({ name }) => name)
    this.#schema = keySchema(columns)
  }

  get buffer(): Buffer {
    return this.#writer.buffer
  }

  get end(): number {
    return this.#writer.position
  }

  read(value: unknown): void {
    for (const name of this.#names) {
      const part = (value as Row)[name] ?? null
      // A negative zero is a zero.
      this.#row[name] = part === 0 ? 0 : part
    }
    this.#writer.position = 0
    this.#schema.encode(this.#writer, this.#row)
  }
}

/** The fields' bytes, copied behind one another unless a foreign writer gave one of them another form. */
class CopiedFields implements KeyBytes {
  start = 0
  buffer: Buffer = Buffer.alloc(0)
  end = 0
  readonly #columns: readonly FieldDefinition[]
  readonly #indexes: readonly number[]
  readonly #isExtended: boolean
  readonly #writer = new ByteWriter(64)
  readonly #encoded: EncodedKey

  constructor(columns: readonly FieldDefinition[], indexes: readonly number[], isExtended: boolean) {
    this.#columns = columns
    this.#indexes = indexes
    this.#isExtended = isExtended
    this.#encoded = new EncodedKey(columns)
  }

  read(value: unknown): void {
    const view = viewOf(value, this.#isExtended)
    const writer = this.#writer
    writer.position = 0
    for (let i = 0; i < this.#columns.length; i++) {
      const index = this.#indexes[i]!
      const end = view.$startOf(index + 1)
      const start = view.$startOf(index)
      if (!isCanonical(this.#columns[i]!, view.$buffer, start, end)) {
        this.#encoded.read(value)
        this.buffer = this.#encoded.buffer
        this.end = this.#encoded.end
        return
      }
      writer.range(view.$buffer, start, end)
    }
    this.buffer = writer.buffer
    this.end = writer.position
  }
}

/** Whether a sound field's bytes are those that its value is written with. */
function isCanonical(
  { kind, optional }: FieldDefinition,
  buffer: Buffer,
  start: number,
  end: number,
): boolean {
  let from = start
  if (optional) {
    if (buffer[from] === 0) return true
    from++
  }
  switch (kind) {
    case 'boolean':
      return true
    case 'double': {
      const value = buffer.readDoubleLE(from)
      return !Number.isNaN(value) && !Object.is(value, -0)
    }
    case 'string':
    case 'bytes': {
      const content = contentStart(buffer, from)
      return isShortest(buffer, from, content) && (kind === 'bytes' || isSoundText(buffer, content, end))
    }
    default:
      return isShortest(buffer, from, end)
  }
}

/** Whether a varint has no needless zeros at its end. */
function isShortest(buffer: Buffer, start: number, end: number): boolean {
  return end - start === 1 || buffer[end - 1] !== 0
}

function isSoundText(buffer: Buffer, start: number, end: number): boolean {
  let bits = 0
  for (let i = start; i < end; i++) bits |= buffer[i]!
  return bits < 0x80 || isUtf8(buffer.subarray(start, end))
}
