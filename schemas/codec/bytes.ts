import { compile } from './compile.ts'

/**
 * Avro's primitives over a buffer. Readers take an exclusive end and never look beyond it; what is
 * malformed comes back as -1 (positions), NaN (numbers) or undefined, so that the generated code can
 * name the field in its error without a try block on the hot path.
 */

/** Beyond this, milliseconds as a double no longer tell neighbouring microseconds apart. */
export const MAX_TIMESTAMP_MS = 2 ** 43

const MAX_VARINT_BYTES = 10
const SHORT_TEXT = 64
const LOW_BITS = 0x8000000

/** Writes a safe integer as zigzag varint; the caller has made room for 8 bytes. Returns the next position. */
export function writeLong(buffer: Buffer, position: number, value: number): number {
  if (value >= -0x40000000 && value < 0x40000000) {
    let rest = (value << 1) ^ (value >> 31)
    while (rest & ~0x7f) {
      buffer[position++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    buffer[position++] = rest
    return position
  }
  const magnitude = value < 0 ? -value - 1 : value
  const low = magnitude % LOW_BITS
  let high = (magnitude - low) / LOW_BITS
  buffer[position++] = ((low & 0x3f) << 1) | (value < 0 ? 0x81 : 0x80)
  buffer[position++] = ((low >>> 6) & 0x7f) | 0x80
  buffer[position++] = ((low >>> 13) & 0x7f) | 0x80
  buffer[position++] = (low >>> 20) | 0x80
  while (high > 0x7f) {
    buffer[position++] = (high & 0x7f) | 0x80
    high >>>= 7
  }
  buffer[position++] = high
  return position
}

/** Writes epoch milliseconds as microseconds: whole and fraction apart, so that the rounding is exact. */
export function writeTimestamp(buffer: Buffer, position: number, ms: number): number {
  const whole = Math.floor(ms)
  return writeLong(buffer, position, whole * 1000 + Math.round((ms - whole) * 1000))
}

/** At most the bytes that `writeText` needs, its length prefix left out. */
export function textRoom(text: string): number {
  return text.length <= 1024 ? text.length * 3 : Buffer.byteLength(text)
}

/** Writes length and UTF-8 (a lone surrogate becomes U+FFFD). Returns the next position. */
export function writeText(buffer: Buffer, position: number, text: string): number {
  const length = text.length
  if (length < SHORT_TEXT) {
    const start = position + 1
    let i = 0
    for (; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) break
      buffer[start + i] = unit
    }
    if (i === length) {
      buffer[position] = length << 1
      return start + length
    }
  }
  const bytes = Buffer.byteLength(text)
  const start = writeLong(buffer, position, bytes)
  return start + (bytes === length ? buffer.write(text, start, 'latin1') : buffer.write(text, start, 'utf8'))
}

export function writeBytes(buffer: Buffer, position: number, value: Uint8Array): number {
  const start = writeLong(buffer, position, value.length)
  buffer.set(value, start)
  return start + value.length
}

/** The position behind a varint, or -1. */
export function skipLong(buffer: Buffer, position: number, end: number): number {
  const limit = position + MAX_VARINT_BYTES < end ? position + MAX_VARINT_BYTES : end
  while (position < limit) if (buffer[position++]! < 0x80) return position
  return -1
}

/** A safe integer, or NaN where there is none. */
export function readLong(buffer: Buffer, position: number, end: number): number {
  if (position >= end) return NaN
  let byte = buffer[position++]!
  const sign = byte & 1
  let low = (byte >> 1) & 0x3f
  for (let shift = 6; byte >= 0x80 && shift < 27; shift += 7) {
    if (position >= end) return NaN
    byte = buffer[position++]!
    low |= (byte & 0x7f) << shift
  }
  if (byte < 0x80) return sign === 0 ? low : -low - 1
  let high = 0
  for (let shift = 0; byte >= 0x80; shift += 7) {
    // The eight bytes so far hold 53 bits; a ninth would be beyond what a number can tell apart.
    if (position >= end || shift > 21) return NaN
    byte = buffer[position++]!
    high |= (byte & 0x7f) << shift
  }
  const magnitude = high * LOW_BITS + low
  const value = sign === 0 ? magnitude : -magnitude - 1
  return Number.isSafeInteger(value) ? value : NaN
}

export function readInt(buffer: Buffer, position: number, end: number): number {
  const value = readLong(buffer, position, end)
  return value >= -0x80000000 && value <= 0x7fffffff ? value : NaN
}

export function readTimestamp(buffer: Buffer, position: number, end: number): number {
  const ms = readLong(buffer, position, end) / 1000
  return Math.abs(ms) <= MAX_TIMESTAMP_MS ? ms : NaN
}

export function readDouble(buffer: Buffer, position: number): number {
  return buffer.readDoubleLE(position)
}

/** The position behind a length-prefixed field, or -1. */
export function skipText(buffer: Buffer, position: number, end: number): number {
  if (position >= end) return -1
  const first = buffer[position]!
  if (first >= 0x80) return skipLongText(buffer, position, end)
  const isNegative = (first & 1) === 1
  const next = position + 1 + (first >> 1)
  return isNegative || next > end ? -1 : next
}

function skipLongText(buffer: Buffer, position: number, end: number): number {
  const length = readLong(buffer, position, end)
  const next = skipLong(buffer, position, end) + length
  return length >= 0 && next <= end ? next : -1
}

/** Where the content of a length-prefixed field begins, which `skipText` has found sound. */
export function contentStart(buffer: Buffer, position: number): number {
  while (buffer[position]! >= 0x80) position++
  return position + 1
}

/** Text, or undefined where there is none. Bytes that are no UTF-8 read as U+FFFD. */
export function readText(buffer: Buffer, position: number, end: number): string | undefined {
  const next = skipText(buffer, position, end)
  if (next < 0) return undefined
  return textBetween(buffer, contentStart(buffer, position), next)
}

/** The text of some bytes. Bytes that are no UTF-8 read as U+FFFD. */
export function textBetween(buffer: Buffer, start: number, end: number): string {
  return shortAscii(buffer, start, end - start) ?? buffer.toString('utf8', start, end)
}

const SHORT_ASCII = 24

/**
 * Short ASCII text, undefined for other text. Most ids and codes are such, and one call with all the
 * characters costs a third of a call into Buffer's C++; the cases are generated, one for each length.
 */
const shortAscii = compile(
  `return (b, p, length) => {
    switch (length) {
      case 0: return ''
      ${Array.from({ length: SHORT_ASCII }, (_, last) => shortAsciiCase(last + 1)).join('\n      ')}
    }
  }`,
  { text: String.fromCharCode },
) as (buffer: Buffer, start: number, length: number) => string | undefined

function shortAsciiCase(length: number): string {
  const names = Array.from({ length }, (_, i) => `c${i}`)
  const reads = names.map((name, i) => `${name} = b[p + ${i}]`)
  return `case ${length}: {
        const ${reads.join(', ')}
        return (${names.join(' | ')}) < 128 ? text(${names.join(', ')}) : undefined
      }`
}

/** A view over the bytes, or undefined where there are none. */
export function readBytes(buffer: Buffer, position: number, end: number): Buffer | undefined {
  const next = skipText(buffer, position, end)
  return next < 0 ? undefined : buffer.subarray(contentStart(buffer, position), next)
}
