import { ByteWriter } from '../../log/batch.ts'
import { Schema, type Field, type FieldDefinition, type Row } from '../../schemas/schema.ts'
import type { AccumulatorReader, AccumulatorWriter } from './aggregates.ts'

/**
 * How an aggregate keeps values of one type: as their Avro, so that what was stored and read again is what was
 * there before.
 */
export class ValueCodec<V> {
  readonly schema: Schema<any>
  readonly #isRow: boolean
  readonly #view: ReturnType<Schema['view']>
  readonly #row: Row = {}
  readonly #scratch = new ByteWriter(256)

  /** @param isRow false: the value of its one field `value` is meant */
  private constructor(schema: Schema<any>, isRow: boolean) {
    this.schema = schema
    this.#isRow = isRow
    this.#view = (schema as Schema).view()
  }

  static ofRow<R>(schema: Schema<R>): ValueCodec<R> {
    return new ValueCodec<R>(schema, true)
  }

  static ofField<V>(field: Field<V>): ValueCodec<V> {
    const definition: FieldDefinition = { ...(field as Field), name: 'value', optional: false }
    return new ValueCodec<V>(new Schema('Value', [definition]), false)
  }

  /** The value as storage will give it back: a copy that nobody else has. @throws SchemaError INVALID_VALUE */
  own(value: V): V {
    const { buffer } = this.#encoded(value)
    return this.read({ buffer, position: 0 })
  }

  /** Bytes of the value's Avro. */
  byteLength(value: V): number {
    return this.#encoded(value).position
  }

  /** By the bytes of their Avro: an order of all values, if none with a meaning. */
  compare(a: V, b: V): number {
    const first = this.#encoded(a)
    const bytes = Buffer.from(first.buffer.subarray(0, first.position))
    const second = this.#encoded(b)
    return bytes.compare(second.buffer, 0, second.position)
  }

  write(writer: AccumulatorWriter, value: V): void {
    this.schema.encode(writer, this.#rowOf(value))
  }

  read(reader: AccumulatorReader): V {
    const view = this.#view
    view.$wrap(reader.buffer, reader.position, reader.buffer.length)
    const row = view.toObject()
    reader.position = view.$startOf(this.schema.fields.length)
    return (this.#isRow ? Object.freeze(row) : row['value']) as V
  }

  #encoded(value: V): ByteWriter {
    this.#scratch.position = 0
    this.schema.encode(this.#scratch, this.#rowOf(value))
    return this.#scratch
  }

  #rowOf(value: V): Row {
    if (this.#isRow) return value as Row
    this.#row['value'] = value
    return this.#row
  }
}
