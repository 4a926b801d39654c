import { spoil, type SpoiledFields } from '../../bridge/generator/bad-input.ts'
import type { RecordMaker } from '../../bridge/generator/generated-records.ts'
import type { Random } from '../../bridge/generator/random.ts'

const FIELDS: SpoiledFields = { required: ['order_id', 'customer_id', 'amount'], number: 'amount' }

/** Shares of orders by country and by status; each list adds up to 1. */
const COUNTRIES = shares({
  'United Kingdom': 0.34,
  Germany: 0.15,
  France: 0.12,
  Ireland: 0.08,
  Spain: 0.07,
  Netherlands: 0.06,
  Belgium: 0.05,
  Switzerland: 0.04,
  Portugal: 0.03,
  Australia: 0.03,
  Norway: 0.02,
  Poland: 0.01,
})

const STATUSES = shares({ pending: 0.2, confirmed: 0.3, delivered: 0.44, cancelled: 0.06 })

const CUSTOMERS = 10_000
/** A median of 25, and one order in a thousand beyond 400. */
const MEDIAN_AMOUNT = 25
const AMOUNT_SPREAD = 0.9

/** Orders of a shop: a few customers buy often, amounts are log-normal, most orders come from nearby. */
export const orderMaker: RecordMaker = {
  record: (random, index, eventTimeMs) => JSON.stringify(orderAt(random, index, eventTimeMs)),
  badRecord: (random, index, eventTimeMs) => spoil(orderAt(random, index, eventTimeMs), FIELDS, random),
}

function orderAt(random: Random, index: number, eventTimeMs: number): Record<string, unknown> {
  const amount = MEDIAN_AMOUNT * Math.exp(AMOUNT_SPREAD * random.normal())
  return {
    order_id: `o-${String(index).padStart(8, '0')}`,
    // The cube leans towards the low numbers: a tenth of the customers place almost half of the orders.
    customer_id: `c-${String(Math.floor(CUSTOMERS * random.unit() ** 3)).padStart(5, '0')}`,
    amount: Math.max(1, Math.round(amount * 100)) / 100,
    status: chosen(STATUSES, random),
    country: chosen(COUNTRIES, random),
    timestamp: new Date(eventTimeMs).toISOString(),
  }
}

type Shares = readonly (readonly [name: string, upTo: number])[]

function shares(table: Readonly<Record<string, number>>): Shares {
  let sum = 0
  return Object.entries(table).map(([name, share]) => [name, (sum += share)] as const)
}

function chosen(table: Shares, random: Random): string {
  const draw = random.unit()
  return (table.find(([, upTo]) => draw < upTo) ?? table[table.length - 1]!)[0]
}
