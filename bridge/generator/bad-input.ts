import type { Random } from './random.ts'

export interface SpoiledFields {
  /** Fields without which a record is invalid. */
  readonly required: readonly string[]
  /** A required field that must be a finite number. */
  readonly number: string
}

type Spoil = (record: Record<string, unknown>, fields: SpoiledFields, random: Random) => string

const PLACEHOLDER = '\u0001'

/** Ways in which records arrive broken, as any producer manages them. */
const WAYS: readonly Spoil[] = [
  (record, _, random) => {
    const text = JSON.stringify(record)
    return text.slice(0, 1 + random.below(text.length - 1))
  },
  (record, { required }, random) => {
    const field = random.pick(required)
    return JSON.stringify({ ...record, [field]: undefined })
  },
  (record, { number }) => JSON.stringify({ ...record, [number]: 'abc' }),
  (record, { number }) => withToken(record, number, '1e999'),
  (record, { number }) => withToken(record, number, 'NaN'),
  (record, { required }, random) => JSON.stringify({ ...record, [random.pick(required)]: { nested: true } }),
  (record, { required }, random) => JSON.stringify({ ...record, [random.pick(required)]: null }),
  (record) => JSON.stringify([record]),
]

/** A record as JSON text that no contract with these required fields accepts. */
export function spoil(record: Record<string, unknown>, fields: SpoiledFields, random: Random): string {
  return random.pick(WAYS)(record, fields, random)
}

/** JSON.stringify has no word for such values. */
function withToken(record: Record<string, unknown>, field: string, token: string): string {
  return JSON.stringify({ ...record, [field]: PLACEHOLDER }).replace(JSON.stringify(PLACEHOLDER), token)
}
