import { SchemaError } from '../errors.ts'
import type { FieldDefinition, FieldKind } from '../fields.ts'
import { compile } from './compile.ts'
import type { Writer } from './encoder.ts'

const SHORT_TEXT = 64
/** Most that a number takes, and `null`, `true` and `false`. */
const FIXED_ROOM = 25
/** Decimals of up to 15 digits are told apart by doubles: one that reads back as the number is its shortest. */
const EXACT_DIGITS = 1e15
const LOW_DIGITS = 8
const LOW_UNIT = 10 ** LOW_DIGITS
const ZERO = 0x30
const POINT = 0x2e
const MINUS = 0x2d
const QUOTE = 0x22
const BACKSLASH = 0x5c

const ACCEPTS: Record<FieldKind, (v: string) => string> = {
  string: (v) => `typeof ${v} === 'string'`,
  boolean: (v) => `typeof ${v} === 'boolean'`,
  bytes: (v) => `${v} instanceof Uint8Array`,
  double: (v) => `Number.isFinite(${v})`,
  timestamp: (v) => `Number.isFinite(${v})`,
  long: (v) => `Number.isSafeInteger(${v})`,
  int: (v) => `(${v} | 0) === ${v}`,
}

const WRITES: Record<FieldKind, (v: string) => string> = {
  string: (v) => `p = writeText(b, p, ${v})`,
  boolean: (v) => `p = writeAscii(b, p, ${v} ? 'true' : 'false')`,
  bytes: (v) => `p = writeAscii(b, p, '"' + base64(${v}) + '"')`,
  double: (v) => `p = writeNumber(b, p, ${v})`,
  timestamp: (v) => `p = writeNumber(b, p, ${v})`,
  long: (v) => `p = writeNumber(b, p, ${v})`,
  int: (v) => `p = writeNumber(b, p, ${v})`,
}

const RUNTIME = { writeText, writeNumber, writeAscii, base64 }

/** Writes a row at the writer's position. */
export type WriteJson = (writer: Writer, row: object) => void

/**
 * Generates the function that writes the rows of a schema as JSON: its fields in their order, times in epoch
 * milliseconds, bytes in base64. It throws SchemaError INVALID_VALUE for a value that the field cannot hold or JSON
 * cannot say, before the first byte. The field names have been validated as identifiers (`schema`), which is what
 * makes this safe.
 */
export function generateJson(schemaName: string, fields: readonly FieldDefinition[]): WriteJson {
  const invalid = (index: number, value: unknown): never => {
    const { name, kind } = fields[index]!
    throw new SchemaError(
      'INVALID_VALUE',
      `${schemaName}.${name}: ${String(value)} is no ${kind} that JSON can say.`,
    )
  }
  const checks: string[] = []
  const writes: string[] = []
  const heads = fields.map(({ name }, i) => `${i === 0 ? '{' : ','}"${name}":`)
  const room = [String(heads.join('').length + fields.length * FIXED_ROOM + 1)]
  for (const [i, { name, kind, optional }] of fields.entries()) {
    const v = `v${i}`
    const absent = `${v} === null || ${v} === undefined`
    checks.push(`const ${v} = o.${name}`)
    checks.push(`if (!(${optional ? `${absent} || ` : ''}${ACCEPTS[kind](v)})) invalid(${i}, ${v})`)
    // Six bytes for a unit that has to be escaped, two quotes; base64 takes less.
    if (kind === 'string' || kind === 'bytes') {
      room.push(optional ? `(${absent} ? 0 : ${v}.length * 6 + 2)` : `${v}.length * 6 + 2`)
    }
    writes.push(stores(heads[i]!))
    const write = WRITES[kind](v)
    writes.push(optional ? `if (${absent}) p = writeAscii(b, p, 'null'); else ${write}` : write)
  }
  const source = `return (w, o) => {
      ${checks.join('\n      ')}
      w.ensure(${room.join(' + ')})
      const b = w.buffer
      let p = w.position
      ${writes.join('\n      ')}
      ${stores('}')}
      w.position = p
    }`
  return compile(source, { ...RUNTIME, invalid }) as WriteJson
}

/** Statements that store ASCII text and move behind it. */
function stores(text: string): string {
  const bytes = Array.from(text, (character, i) => `b[p + ${i}] = ${character.charCodeAt(0)}`)
  return `${bytes.join('; ')}; p += ${text.length}`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function writeAscii(buffer: Buffer, position: number, text: string): number {
  for (let i = 0; i < text.length; i++) buffer[position + i] = text.charCodeAt(i)
  return position + text.length
}

/** As JSON.stringify has it. Returns the next position. */
function writeText(buffer: Buffer, position: number, text: string): number {
  const { length } = text
  if (length < SHORT_TEXT) {
    const start = position + 1
    let i = 0
    for (; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit < 0x20 || unit > 0x7e || unit === QUOTE || unit === BACKSLASH) break
      buffer[start + i] = unit
    }
    if (i === length) {
      buffer[position] = QUOTE
      buffer[start + length] = QUOTE
      return start + length + 1
    }
  }
  return position + buffer.write(JSON.stringify(text), position, 'utf8')
}

/** A finite number as `String` has it, without making that where its digits are few. Returns the next position. */
export function writeNumber(buffer: Buffer, position: number, value: number): number {
  const magnitude = Math.abs(value)
  const whole = Math.floor(magnitude)
  const hundredths = whole === magnitude ? whole : Math.round(magnitude * 100)
  const isExact = whole === magnitude || hundredths / 100 === magnitude
  if (!isExact || hundredths >= EXACT_DIGITS) return writeAscii(buffer, position, String(value))
  if (value < 0) buffer[position++] = MINUS
  const next = writeWhole(buffer, position, whole)
  if (whole === magnitude) return next
  const fraction = hundredths - whole * 100
  const tenths = Math.floor(fraction / 10)
  const rest = fraction - tenths * 10
  buffer[next] = POINT
  buffer[next + 1] = ZERO + tenths
  if (rest === 0) return next + 2
  buffer[next + 2] = ZERO + rest
  return next + 3
}

function writeWhole(buffer: Buffer, position: number, whole: number): number {
  if (whole < LOW_UNIT) return writeDigits(buffer, position, whole, digitsOf(whole))
  const high = Math.floor(whole / LOW_UNIT)
  const next = writeDigits(buffer, position, high, digitsOf(high))
  return writeDigits(buffer, next, whole - high * LOW_UNIT, LOW_DIGITS)
}

function digitsOf(value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits++
  return digits
}

function writeDigits(buffer: Buffer, position: number, value: number, digits: number): number {
  let rest = value | 0
  for (let at = position + digits - 1; at >= position; at--) {
    const tenth = (rest / 10) | 0
    buffer[at] = ZERO + rest - tenth * 10
    rest = tenth
  }
  return position + digits
}
