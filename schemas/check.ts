import { MAX_TIMESTAMP_MS } from './codec/bytes.ts'
import { compile } from './codec/compile.ts'
import { kindOf } from './errors.ts'
import type { FieldDefinition, FieldKind } from './fields.ts'
import { parseInstantMs } from './instant.ts'

/** Why a source refuses a record; it becomes the dead letter's reason and field. */
export interface Rejection {
  readonly reason: string
  /** The field at fault, or null where it is the whole record. */
  readonly field: string | null
}

/** Validates parsed JSON and casts it in place: the event time, or why it is refused. Never throws. */
export type Check = (json: unknown, nowMs: number, fallbackEventTimeMs: number) => number | Rejection

export interface CheckOptions {
  readonly eventTime: string
  readonly maxAgeMs: number
  readonly maxAheadMs: number
}

/** Sums stay exact as expansions of doubles below this (design §5). */
const DOUBLE_LIMIT = 2 ** 960

/** Turns what was read from a cast or a parsed time into the field's value; NaN where it cannot be. */
const CASTS: Partial<Record<FieldKind, (text: string) => number>> = {
  double: parseDecimal,
  long: parseInteger,
  int: parseInteger,
  timestamp: parseInstantMs,
}

/** The number in a decimal or exponent form, spaces around it allowed; NaN for hexadecimal, empty and other texts. */
function parseDecimal(text: string): number {
  const trimmed = text.trim()
  // What `Number` takes beyond decimals: the empty text, 0x, 0b and 0o. 'Infinity' fails as not finite.
  return trimmed === '' || /^0[xob]/i.test(trimmed) ? NaN : Number(trimmed)
}

function parseInteger(text: string): number {
  const trimmed = text.trim()
  return /^[+-]?\d+$/.test(trimmed) ? Number(trimmed) : NaN
}

const TRUE_TEXTS = new Set(['true', 't', 'yes', 'y', '1'])
const FALSE_TEXTS = new Set(['false', 'f', 'no', 'n', '0'])

/**
 * The value of a text where all is text, such as CSV: numbers, truth, and times as epoch milliseconds or as the
 * check reads them. What cannot be cast stays as it is, for the check to refuse.
 */
export function castText(kind: FieldKind, text: string): string | number | boolean {
  if (kind === 'string' || kind === 'bytes') return text
  if (kind === 'boolean') {
    const word = text.trim().toLowerCase()
    if (TRUE_TEXTS.has(word)) return true
    return FALSE_TEXTS.has(word) ? false : text
  }
  const value = kind === 'timestamp' ? parseDecimal(text) : CASTS[kind]!(text)
  return Number.isFinite(value) ? value : text
}

/**
 * Generates the check of a contract: straight-line code over the declared fields. Fields that are not
 * declared are ignored. Reasons are constant texts, so that they can be counted.
 */
export function generateCheck(fields: readonly FieldDefinition[], options: CheckOptions): Check {
  const eventTime = options.eventTime
  const rejections: Rejection[] = []
  const refuse = (field: string, reason: string): string =>
    `return rejections[${rejections.push({ field, reason }) - 1}]`
  const statements = fields.map((field, i) => checkField(field, `v${i}`, refuse))
  const at = fields.findIndex(({ name }) => name === eventTime)
  const range = `
    const t = v${at} === null || v${at} === undefined ? fallbackMs : v${at}
    if (!(t >= nowMs - ${options.maxAgeMs})) ${refuse(eventTime, `event time is older than ${spell(options.maxAgeMs)}`)}
    if (!(t <= nowMs + ${options.maxAheadMs})) ${refuse(eventTime, `event time is more than ${spell(options.maxAheadMs)} ahead`)}
    return t`
  const source = `return (o, nowMs, fallbackMs) => {
      if (o === null || typeof o !== 'object' || Array.isArray(o)) return notAnObject(o)
      ${statements.join('\n      ')}
      ${range}
    }`
  return compile(source, { rejections, notAnObject, mistyped, casts: CASTS }) as Check
}

function notAnObject(value: unknown): Rejection {
  return { reason: `the record is not an object but ${kindOf(value)}`, field: null }
}

function mistyped(field: string, expected: string, value: unknown): Rejection {
  return { reason: `${field} is not ${expected} but ${kindOf(value)}`, field }
}

type Refuse = (field: string, reason: string) => string

function checkField(field: FieldDefinition, v: string, refuse: Refuse): string {
  const { name, kind, optional, castsText } = field
  const steps = [`let ${v} = o.${name}`]
  if (!optional) {
    steps.push(`if (${v} === null || ${v} === undefined || ${v} === '') ${refuse(name, `missing ${name}`)}`)
  }
  const present = optional ? `${v} !== null && ${v} !== undefined` : 'true'
  steps.push(`if (${present}) {`)
  if (castsText || kind === 'timestamp') {
    const wrong = kind === 'timestamp' ? `${name} is not a time` : `${name} is text that is no ${noun(kind)}`
    steps.push(`if (typeof ${v} === 'string') {
        ${v} = casts.${kind}(${v})
        if (${v} !== ${v}) ${refuse(name, wrong)}
        o.${name} = ${v}
      }`)
  }
  steps.push(...checkKind(field, v, refuse), '}')
  return steps.join('\n      ')
}

function noun(kind: FieldKind): string {
  return kind === 'double' ? 'number' : 'integer'
}

function checkKind({ name, kind }: FieldDefinition, v: string, refuse: Refuse): string[] {
  const typed = (jsType: string, expected: string): string =>
    `if (typeof ${v} !== '${jsType}') return mistyped('${name}', '${expected}', ${v})`
  switch (kind) {
    case 'string':
      return [
        typed('string', 'text'),
        `if (!${v}.isWellFormed()) ${refuse(name, `${name} holds half a surrogate pair, which is no text`)}`,
      ]
    case 'double':
      return [
        typed('number', 'a number'),
        `if (!(${v} - ${v} === 0)) ${refuse(name, `${name} is not a finite number`)}`,
        `if (!(Math.abs(${v}) < ${DOUBLE_LIMIT})) ${refuse(name, `${name} is too large (2^960 or more)`)}`,
      ]
    case 'long':
      return [
        typed('number', 'an integer'),
        `if (!Number.isSafeInteger(${v})) ${refuse(name, `${name} is not an integer within ±(2^53 - 1)`)}`,
      ]
    case 'int':
      return [
        typed('number', 'an integer'),
        `if ((${v} | 0) !== ${v}) ${refuse(name, `${name} is not an integer of 32 bits`)}`,
      ]
    case 'boolean':
      return [typed('boolean', 'true or false')]
    case 'timestamp':
      return [
        typed('number', 'a time'),
        `if (!(Math.abs(${v}) <= ${MAX_TIMESTAMP_MS})) ${refuse(name, `${name} is not a time between 1692 and 2248`)}`,
      ]
    case 'bytes':
      return [`if (!(${v} instanceof Uint8Array)) return mistyped('${name}', 'bytes', ${v})`]
  }
}

const UNITS: readonly (readonly [string, number])[] = [
  ['year', 365.25 * 86_400_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
]

function spell(ms: number): string {
  const [unit, unitMs] = UNITS.find(([, size]) => ms >= size && ms % size === 0) ?? ['millisecond', 1]
  return `${ms / unitMs} ${unit}${ms === unitMs ? '' : 's'}`
}
