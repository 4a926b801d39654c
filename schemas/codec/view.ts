import { SchemaError } from '../errors.ts'
import type { FieldDefinition, FieldKind } from '../fields.ts'
import {
  readBytes,
  readDouble,
  readInt,
  readLong,
  readText,
  readTimestamp,
  skipLong,
  skipText,
} from './bytes.ts'
import { compile } from './compile.ts'

/**
 * A reusable lazy reader of one record. What it gives is valid until the next `$wrap`; `toObject` keeps it.
 * (An alias, as an interface would not pass for a row of which nothing is known.)
 */
export type ViewBase<T> = {
  readonly $buffer: Buffer
  readonly $start: number
  readonly $end: number
  /** Points the view at the record in [start, end). Nothing is read yet. */
  $wrap<V>(this: V, buffer: Buffer, start: number, end: number): V
  /** The byte where the field with this index begins; for the number of fields, where the last one ends. */
  $startOf(fieldIndex: number): number
  /** A plain copy. @throws SchemaError MALFORMED_RECORD, as each field does when it is read */
  toObject(): T
}

export type View<T> = ViewBase<T> & Readonly<T>

const RUNTIME = { readBytes, readDouble, readInt, readLong, readText, readTimestamp, skipLong, skipText }

const SKIPS: Record<FieldKind, string> = {
  string: 'p = skipText(b, p, e)',
  bytes: 'p = skipText(b, p, e)',
  double: 'p = p + 8 <= e ? p + 8 : -1',
  boolean: 'p = p < e && b[p] <= 1 ? p + 1 : -1',
  long: 'p = skipLong(b, p, e)',
  int: 'p = skipLong(b, p, e)',
  timestamp: 'p = skipLong(b, p, e)',
}

/** Statements that leave the value in `v`, and the test that it is malformed. */
const READS: Record<FieldKind, readonly [read: string, malformed: string]> = {
  string: ['v = readText(b, p, e)', 'v === undefined'],
  bytes: ['v = readBytes(b, p, e)', 'v === undefined'],
  double: ['v = p + 8 <= e ? readDouble(b, p) : undefined', 'v === undefined'],
  boolean: ['v = p < e && b[p] <= 1 ? b[p] === 1 : undefined', 'v === undefined'],
  long: ['v = readLong(b, p, e)', 'v !== v'],
  int: ['v = readInt(b, p, e)', 'v !== v'],
  timestamp: ['v = readTimestamp(b, p, e)', 'v !== v'],
}

/** Bits of a small integer in V8, which is what a mask of decoded fields should stay. */
const MASK_BITS = 30

/**
 * Generates the view class of a record. Positions are found progressively: touching field n skips over
 * those before it once, and decodes none of them. A decoded value is kept until the next `$wrap`.
 *
 * @param leading how many fields at the front `toObject` leaves out
 */
export function generateView(
  schemaName: string,
  fields: readonly FieldDefinition[],
  leading = 0,
): new () => ViewBase<unknown> {
  const malformed = (index: number, view: ViewBase<unknown>): never => {
    throw new SchemaError(
      'MALFORMED_RECORD',
      `${schemaName}.${fields[index]!.name} cannot be read: the record's ${view.$end - view.$start} bytes ` +
        `(at ${view.$start} of its batch) do not hold a ${fields[index]!.kind} there. ` +
        `They were damaged or written with another schema.`,
    )
  }
  const source = `return class {
      ${declarations(fields)}
      ${wrap(fields)}
      $startOf(index) {
        if (this.$located < index) this.$locate(index)
        switch (index) {
          ${fields.map((_, i) => `case ${i}: return this.$p${i}`).join('\n          ')}
          default: return this.$p${fields.length}
        }
      }
      ${locate(fields)}
      toObject() {
        return { ${fields.slice(leading).map(copied).join(', ')} }
      }
      ${fields.map(getter).join('\n      ')}
    }`
  return compile(source, { ...RUNTIME, malformed }) as new () => ViewBase<unknown>
}

function masks(fields: readonly FieldDefinition[]): number[] {
  return Array.from({ length: Math.ceil(fields.length / MASK_BITS) }, (_, i) => i)
}

function declarations(fields: readonly FieldDefinition[]): string {
  return [
    '$buffer = null; $start = 0; $end = 0; $located = 0',
    ...masks(fields).map((mask) => `$decoded${mask} = 0`),
    ...fields.map((_, i) => `$p${i} = 0; $v${i} = null`),
    `$p${fields.length} = 0`,
  ].join('\n      ')
}

function wrap(fields: readonly FieldDefinition[]): string {
  return `$wrap(buffer, start, end) {
        if (!(start >= 0 && start <= end && end <= buffer.length)) {
          throw new RangeError('[' + start + ', ' + end + ') is not within the buffer')
        }
        this.$buffer = buffer
        this.$start = start
        this.$end = end
        this.$located = 0
        this.$p0 = start
        ${masks(fields)
          .map((mask) => `this.$decoded${mask} = 0`)
          .join('; ')}
        return this
      }`
}

/** Positions are written as they are found, so that a malformed field does not hide those before it. */
function locate(fields: readonly FieldDefinition[]): string {
  const cases = fields.map(({ kind, optional }, i) => {
    const skip = optional
      ? `if (p < e && b[p] === 0) p++; else if (p < e && b[p] === 2) { p++; ${SKIPS[kind]} } else p = -1`
      : SKIPS[kind]
    return `case ${i}: ${skip}
            if (p < 0) malformed(${i}, this)
            this.$p${i + 1} = p
            this.$located = ${i + 1}
            if (target === ${i + 1}) return`
  })
  return `$locate(target) {
        const b = this.$buffer
        const e = this.$end
        let p = this.$startOf(this.$located)
        switch (this.$located) {
          ${cases.join('\n          ')}
        }
      }`
}

function getter({ name, kind, optional }: FieldDefinition, i: number): string {
  const mask = `this.$decoded${Math.floor(i / MASK_BITS)}`
  const bit = 2 ** (i % MASK_BITS)
  const [read, isMalformed] = READS[kind]
  const decode = `${read}; if (${isMalformed}) malformed(${i}, this)`
  return `get ${name}() {
        if ((${mask} & ${bit}) !== 0) return this.$v${i}
        if (this.$located < ${i}) this.$locate(${i})
        const b = this.$buffer
        const e = this.$end
        let p = this.$p${i}
        let v = null
        ${optional ? `if (p >= e || (b[p] !== 0 && b[p] !== 2)) malformed(${i}, this)\n        if (b[p++] === 2) { ${decode} }` : decode}
        this.$v${i} = v
        ${mask} |= ${bit}
        return v
      }`
}

function copied({ name, kind }: FieldDefinition): string {
  if (kind !== 'bytes') return `${name}: this.${name}`
  return `${name}: this.${name} === null ? null : new Uint8Array(this.${name})`
}
