import type { FieldDefinition, FieldKind, Row, Schema } from '../../../schemas/schema.ts'
import { SchemaError } from '../../../schemas/schema.ts'

type Text = (value: unknown) => string | null

const NUMBERS: Record<'double' | 'whole', Text> = {
  double: (value) => (Number.isFinite(value) ? String(value) : null),
  whole: (value) => (Number.isSafeInteger(value) ? String(value) : null),
}

/** A value as JSON; null: it is none of the kind, or JSON has no form for it (NaN, the infinities). */
const TEXTS: Record<FieldKind, Text> = {
  string: (value) => (typeof value === 'string' ? JSON.stringify(value) : null),
  boolean: (value) => (typeof value === 'boolean' ? String(value) : null),
  bytes: (value) =>
    value instanceof Uint8Array
      ? `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`
      : null,
  double: NUMBERS.double,
  timestamp: NUMBERS.double,
  long: NUMBERS.whole,
  int: (value) => (typeof value === 'number' && value === (value | 0) ? String(value) : null),
}

/**
 * How the rows of a schema are written as JSON: its fields in their order, times in epoch milliseconds, bytes
 * in base64.
 * @throws SchemaError INVALID_VALUE for a value that the field cannot hold or JSON cannot say
 */
export function jsonWriter({ name, fields }: Schema<any>): (row: Row) => string {
  const heads = fields.map((field, i) => `${i === 0 ? '{' : ','}${JSON.stringify(field.name)}:`)
  return (row) => {
    let text = ''
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i]!
      text += heads[i]! + textOf(name, field, row[field.name])
    }
    return `${text}}`
  }
}

function textOf(schema: string, { name, kind, optional }: FieldDefinition, value: unknown): string {
  if (optional && (value === null || value === undefined)) return 'null'
  const text = TEXTS[kind](value)
  if (text !== null) return text
  throw new SchemaError(
    'INVALID_VALUE',
    `${schema}.${name}: ${String(value)} is no ${kind} that JSON can say.`,
  )
}
