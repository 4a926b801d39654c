import { kindOf, SchemaError } from '../errors.ts'
import type { FieldDefinition, FieldKind } from '../fields.ts'
import { compile } from './compile.ts'
import { MAX_TIMESTAMP_MS, textRoom, writeBytes, writeLong, writeText, writeTimestamp } from './bytes.ts'

/** Where encoders write: `ensure` makes room (and may replace `buffer`), `position` moves. */
export interface Writer {
  buffer: Buffer
  position: number
  ensure(bytes: number): void
}

export type Encode = (writer: Writer, value: object) => void

/** Room for a union's index and a double, or a safe integer, which takes as much. */
const FIXED_ROOM = 9

const RUNTIME = { textRoom, writeBytes, writeLong, writeText, writeTimestamp, MAX_TIMESTAMP_MS }

const EXPECTED: Record<FieldKind, string> = {
  string: 'text',
  double: 'a number',
  long: 'an integer within ±(2^53 - 1)',
  int: 'an integer of 32 bits',
  boolean: 'true or false',
  timestamp: 'epoch milliseconds between the years 1692 and 2248',
  bytes: 'bytes',
}

const ACCEPTS: Record<FieldKind, (v: string) => string> = {
  string: (v) => `typeof ${v} === 'string'`,
  double: (v) => `typeof ${v} === 'number'`,
  long: (v) => `Number.isSafeInteger(${v})`,
  int: (v) => `(${v} | 0) === ${v}`,
  boolean: (v) => `typeof ${v} === 'boolean'`,
  timestamp: (v) => `(typeof ${v} === 'number' && Math.abs(${v}) <= MAX_TIMESTAMP_MS)`,
  bytes: (v) => `${v} instanceof Uint8Array`,
}

const WRITES: Record<FieldKind, (v: string) => string> = {
  string: (v) => `p = writeText(b, p, ${v})`,
  double: (v) => `p = b.writeDoubleLE(${v}, p)`,
  long: (v) => `p = writeLong(b, p, ${v})`,
  int: (v) => `p = writeLong(b, p, ${v})`,
  boolean: (v) => `b[p++] = ${v} ? 1 : 0`,
  timestamp: (v) => `p = writeTimestamp(b, p, ${v})`,
  bytes: (v) => `p = writeBytes(b, p, ${v})`,
}

/**
 * Generates the function that writes a value's fields, from `fieldIndex` on, as bare Avro. It checks
 * every field before the first byte, so that a refused value leaves the writer as it was.
 * The field names have been validated as identifiers (`schema`), which is what makes this safe.
 */
export function generateEncode(
  schemaName: string,
  fields: readonly FieldDefinition[],
  fieldIndex: number,
): Encode {
  const invalid = (index: number, value: unknown): never => {
    const { name, kind, optional } = fields[index]!
    const expected = EXPECTED[kind] + (optional ? ' or null' : '')
    throw new SchemaError(
      'INVALID_VALUE',
      `${schemaName}.${name} cannot be written: expected ${expected}, got ${kindOf(value)}. ` +
        `Mend the function that makes this value.`,
    )
  }
  const reads: string[] = []
  const writes: string[] = []
  const room: string[] = [String((fields.length - fieldIndex) * FIXED_ROOM)]
  for (let i = fieldIndex; i < fields.length; i++) {
    const { name, kind, optional } = fields[i]!
    const v = `v${i}`
    const absent = `${v} === null || ${v} === undefined`
    reads.push(`const ${v} = o.${name}`)
    reads.push(`if (!(${optional ? `${absent} || ` : ''}${ACCEPTS[kind](v)})) invalid(${i}, ${v})`)
    if (kind === 'string' || kind === 'bytes') {
      const bytes = kind === 'string' ? `textRoom(${v})` : `${v}.length`
      room.push(optional ? `(${absent} ? 0 : ${bytes})` : bytes)
    }
    const write = WRITES[kind](v)
    writes.push(optional ? `if (${absent}) b[p++] = 0; else { b[p++] = 2; ${write} }` : write)
  }
  const source = `return (w, o) => {
      ${reads.join('\n      ')}
      w.ensure(${room.join(' + ')})
      const b = w.buffer
      let p = w.position
      ${writes.join('\n      ')}
      w.position = p
    }`
  return compile(source, { ...RUNTIME, invalid }) as Encode
}
