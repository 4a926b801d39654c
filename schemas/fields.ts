/** How a field is written and read. A timestamp is epoch milliseconds in TypeScript, microseconds in Avro. */
export type FieldKind = 'string' | 'double' | 'long' | 'int' | 'boolean' | 'timestamp' | 'bytes'

/** A field as declared. `Value` is what TypeScript reads: with `null` where the field is optional. */
export interface Field<Value = unknown, Kind extends FieldKind = FieldKind> {
  readonly kind: Kind
  readonly optional: boolean
  /** Whether a contract casts text to the number (`{ cast: 'text' }`). */
  readonly castsText: boolean
  /** Carries the type only; never set. */
  readonly valueType?: Value
}

export type Fields = Readonly<Record<string, Field>>

/** A field of a schema, in its place. */
export interface FieldDefinition extends Field {
  readonly name: string
}

export interface NumberOptions {
  /** `'text'`: a contract accepts the number as text too. Default: numbers only. */
  readonly cast?: 'text'
}

function field<Value, Kind extends FieldKind>(kind: Kind, options: NumberOptions = {}): Field<Value, Kind> {
  return { kind, optional: false, castsText: options.cast === 'text' }
}

export function string(): Field<string, 'string'> {
  return field('string')
}

/** Any double; contracts refuse what is not finite and |x| ≥ 2⁹⁶⁰, so that sums stay exact. */
export function double(options?: NumberOptions): Field<number, 'double'> {
  return field('double', options)
}

/** An integer within ±(2⁵³ − 1), the safe integers. */
export function long(options?: NumberOptions): Field<number, 'long'> {
  return field('long', options)
}

/** An integer of 32 bits. */
export function int(options?: NumberOptions): Field<number, 'int'> {
  return field('int', options)
}

export function boolean(): Field<boolean, 'boolean'> {
  return field('boolean')
}

/** Epoch milliseconds, fractions kept to the microsecond, between the years 1692 and 2248. */
export function timestamp(): Field<number, 'timestamp'> {
  return field('timestamp')
}

export function bytes(): Field<Uint8Array, 'bytes'> {
  return field('bytes')
}

/** Reads as `null` where it is missing; may be left out when writing. */
export function optional<Value, Kind extends FieldKind>(
  inner: Field<Value, Kind>,
): Field<Value | null, Kind> {
  return { kind: inner.kind, optional: true, castsText: inner.castsText }
}

type ValueOf<F> = F extends Field<infer Value> ? Value : never

/** The row type of declared fields. */
export type RowOfFields<F extends Fields> = { -readonly [Name in keyof F]: ValueOf<F[Name]> }

/** Names of the fields that are of one of the kinds and, unless `Value` admits null, required. */
export type FieldNamesOf<F extends Fields, Kind extends FieldKind, Value = unknown> = {
  [Name in keyof F & string]: F[Name] extends Field<Value, Kind> ? Name : never
}[keyof F & string]
