import { generateEncode, type Encode, type Writer } from './codec/encoder.ts'
import { generateView, type View, type ViewBase } from './codec/view.ts'
import { SchemaError } from './errors.ts'
import type { Field, FieldDefinition, FieldKind, Fields, RowOfFields } from './fields.ts'

export { boolean, bytes, double, int, long, optional, string, timestamp } from './fields.ts'
export type { Field, FieldDefinition, FieldKind, Fields, RowOfFields } from './fields.ts'
export type { Writer } from './codec/encoder.ts'
export type { View } from './codec/view.ts'
export { SchemaError } from './errors.ts'

/** A row of which nothing is known but that it has fields. */
export type Row = Record<string, unknown>

type NullableKeys<T> = { [Name in keyof T]: null extends T[Name] ? Name : never }[keyof T]

/** What may be written: optional fields may be null, undefined or left out. */
export type Input<T> = Readonly<Omit<T, NullableKeys<T>>> & {
  readonly [Name in NullableKeys<T>]?: T[Name] | undefined
}

/** The row type of a schema or contract: `type Order = RowOf<typeof order>`. */
export type RowOf<S> = S extends { readonly schema: Schema<infer T> }
  ? T
  : S extends Schema<infer T>
    ? T
    : never

type AvroType = string | { readonly type: 'long'; readonly logicalType: 'timestamp-micros' }

interface AvroField {
  readonly name: string
  readonly type: AvroType | readonly ['null', AvroType]
  readonly default?: null
}

export interface AvroRecord {
  readonly type: 'record'
  readonly name: string
  readonly fields: readonly AvroField[]
}

/** A record type with a name: its Avro form and its generated codec. Made by {@link schema} and {@link extend}. */
export class Schema<T = Row> {
  readonly name: string
  readonly fields: readonly FieldDefinition[]
  readonly avro: AvroRecord
  /** The Avro schema as canonical JSON: equal schemas have equal texts. */
  readonly avroText: string
  readonly #encode: Encode
  readonly #encodeFrom: (Encode | undefined)[] = []
  readonly #View: new () => ViewBase<unknown>
  readonly #decoder: ViewBase<unknown>

  constructor(name: string, fields: readonly FieldDefinition[]) {
    refuseDoubles(name, fields)
    this.name = name
    this.fields = fields
    this.avro = avroOf(name, fields)
    this.avroText = JSON.stringify(this.avro)
    this.#encode = generateEncode(name, fields, 0)
    this.#View = generateView(name, fields)
    this.#decoder = new this.#View()
  }

  /**
   * Writes a value as bare Avro; a lone surrogate in a text becomes U+FFFD.
   * @throws SchemaError INVALID_VALUE, the writer unchanged, when a field is missing or of the wrong type
   */
  encode(writer: Writer, value: Input<T>): void {
    this.#encode(writer, value)
  }

  /** Writes only the fields from `fieldIndex` on, behind bytes that were copied as they are. Throws as `encode`. */
  encodeFrom(writer: Writer, value: Partial<Input<T>>, fieldIndex: number): void {
    const encode = (this.#encodeFrom[fieldIndex] ??= generateEncode(this.name, this.fields, fieldIndex))
    encode(writer, value)
  }

  /**
   * A new lazy view. It reads the fields that are touched, and never outside of what it wraps; bytes
   * behind the last field are left alone, so a schema reads records of those that extend it.
   * Its properties throw SchemaError MALFORMED_RECORD.
   */
  view(): View<T> {
    return new this.#View() as View<T>
  }

  /** The record in [start, end) as a plain object. @throws SchemaError MALFORMED_RECORD */
  decode(buffer: Buffer, start: number, end: number): T {
    return this.#decoder.$wrap(buffer, start, end).toObject() as T
  }
}

/**
 * Declares a record type.
 * @param fields names and types in the order in which they are written
 * @throws SchemaError INVALID_SCHEMA when a name cannot be one
 */
export function schema<const F extends Fields>(name: string, fields: F): Schema<RowOfFields<F>> {
  return new Schema(name, defineFields(name, fields))
}

type Extended<T, F extends Fields> = {
  [Name in keyof T | keyof F]: Name extends keyof F
    ? RowOfFields<F>[Name]
    : Name extends keyof T
      ? T[Name]
      : never
}

/** A schema with further fields at its end. Throws as {@link schema}, and when a field is there already. */
export function extend<T, const F extends Fields>(
  base: Schema<T>,
  fields: F,
  name: string = base.name,
): Schema<Extended<T, F>> {
  return new Schema(name, [...base.fields, ...defineFields(name, fields)])
}

function refuseDoubles(name: string, fields: readonly FieldDefinition[]): void {
  const names = fields.map((field) => field.name)
  const double = names.find((field, i) => names.indexOf(field) !== i)
  if (double === undefined) return
  throw new SchemaError(
    'INVALID_SCHEMA',
    `${name} has a field ${double} already: give the new one another name.`,
  )
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Members of a view; those of every object are refused as well, since an absent field would read as one. */
const RESERVED = new Set(['toObject', 'prototype'])

/** The declared fields in order. The codec's generated code relies on the names having passed here. */
export function defineFields(name: string, fields: Fields): FieldDefinition[] {
  if (!IDENTIFIER.test(name)) {
    throw new SchemaError('INVALID_SCHEMA', `"${name}" cannot name a schema: use letters, digits and _.`)
  }
  const definitions = Object.entries(fields).map(([field, declared]) => {
    if (!IDENTIFIER.test(field)) {
      throw new SchemaError(
        'INVALID_SCHEMA',
        `"${field}" cannot name a field of ${name}: use letters, digits and _, not beginning with a digit.`,
      )
    }
    if (RESERVED.has(field) || field in Object.prototype) {
      throw new SchemaError(
        'INVALID_SCHEMA',
        `"${field}" cannot name a field of ${name}: objects have a member of this name. Use another.`,
      )
    }
    return { name: field, ...declared }
  })
  if (definitions.length === 0) {
    throw new SchemaError('INVALID_SCHEMA', `${name} has no fields: declare at least one.`)
  }
  return definitions
}

const AVRO_TYPES: Record<FieldKind, AvroType> = {
  string: 'string',
  double: 'double',
  long: 'long',
  int: 'int',
  boolean: 'boolean',
  timestamp: { type: 'long', logicalType: 'timestamp-micros' },
  bytes: 'bytes',
}

function avroOf(name: string, fields: readonly FieldDefinition[]): AvroRecord {
  return {
    type: 'record',
    name,
    fields: fields.map((field) => avroField(field.name, field)),
  }
}

function avroField(name: string, { kind, optional }: Field): AvroField {
  const type = AVRO_TYPES[kind]
  return optional ? { name, type: ['null', type], default: null } : { name, type }
}
