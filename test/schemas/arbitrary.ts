import avsc from 'avsc'
import fc from 'fast-check'
import { Schema, type FieldDefinition, type FieldKind, type Row } from '../../schemas/schema.ts'
import { MAX_TIMESTAMP_MS } from '../../schemas/codec/bytes.ts'

const text = fc.oneof(
  fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  // Around the bounds between the ways in which text is written and read.
  fc
    .tuple(fc.constantFrom('a', 'é', '日', '😀'), fc.constantFrom(23, 24, 25, 63, 64, 65, 1024, 1025, 5000))
    .map(([unit, length]) => unit.repeat(length)),
)
const MAX_MICROS = MAX_TIMESTAMP_MS * 1000
/** avsc rounds what is below −2⁵² when it writes, and refuses 2⁵³ − 1; longs.test.ts has those against BigInt. */
const ORACLE_MIN = -(2 ** 52)
const ORACLE_MAX = 2 ** 53 - 2

const values: Record<FieldKind, fc.Arbitrary<unknown>> = {
  string: text,
  double: fc.double(),
  long: fc.oneof(
    fc.maxSafeInteger().map((value) => Math.min(Math.max(value, ORACLE_MIN), ORACLE_MAX)),
    fc.integer(),
    fc.integer({ min: -70, max: 70 }),
  ),
  int: fc.integer(),
  boolean: fc.boolean(),
  timestamp: fc.oneof(
    fc.integer({ min: ORACLE_MIN, max: MAX_MICROS }).map((us) => us / 1000),
    fc.integer({ min: 0, max: 2 ** 31 }).map((seconds) => seconds * 1000),
  ),
  bytes: fc.uint8Array({ maxLength: 100 }),
}

export const kinds = Object.keys(values) as FieldKind[]

export interface SchemaAndRow {
  readonly schema: Schema
  readonly row: Row
}

/** Rows of a schema. */
export function rowOf({ fields }: Schema): fc.Arbitrary<Row> {
  const entries = fields.map(({ name, kind, optional }) => [
    name,
    optional ? fc.option(values[kind]) : values[kind],
  ])
  return fc.record(Object.fromEntries(entries) as Record<string, fc.Arbitrary<unknown>>, {
    noNullPrototype: true,
  })
}

/** A schema of up to 40 fields (more than one mask of decoded fields holds), and a row of it. */
export const schemaAndRow: fc.Arbitrary<SchemaAndRow> = fc
  .array(fc.record({ kind: fc.constantFrom(...kinds), optional: fc.boolean() }), {
    minLength: 1,
    maxLength: 40,
  })
  .chain((declared) => {
    const fields: FieldDefinition[] = declared.map((field, i) => ({
      name: `f${i}`,
      castsText: false,
      ...field,
    }))
    const schema = new Schema('Any', fields)
    return rowOf(schema).map((row) => ({ schema, row }))
  })

/** By decimals: a product with 1000 is rounded far from 1970. */
function micros(ms: number): number {
  return Number(ms.toFixed(3).replace('.', ''))
}

/** The row as avsc has it: microseconds and Buffers. */
export function toAvsc({ schema, row }: SchemaAndRow): Row {
  return Object.fromEntries(
    schema.fields.map(({ name, kind }) => {
      const value = row[name]
      if (typeof value === 'number' && kind === 'timestamp') return [name, micros(value)]
      return [name, value instanceof Uint8Array ? Buffer.from(value) : value]
    }),
  )
}

export function avscType(schema: Schema): avsc.Type {
  return avsc.Type.forSchema(schema.avro as unknown as avsc.Schema, { registry: {} })
}
