/**
 * The orders that a run of faults feeds in: known to the last one, and rich in what may go wrong. Made by seed,
 * line after line, so that a file can grow while faults are injected.
 */
import { Random } from '../../bridge/generator/random.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const START = Date.UTC(2024, 0, 1)
/** How far behind the others an order may lie and still be in time; the contract of `orders` says so. */
const DISORDER_MS = HOUR

/** One line of the file. */
export interface GivenLine {
  readonly text: string
  /** null: no order at all, or one that the contract refuses. */
  readonly order: GivenOrder | null
}

/** Times are epoch ms. */
export interface GivenOrder {
  readonly order_id: string
  readonly customer_id: string
  readonly amount: number
  readonly status: string | null
  readonly country: string | null
  readonly timestamp: number
}

const STATUSES = ['pending', 'confirmed', 'delivered', 'cancelled', null]
const COUNTRIES = ['DE', 'FR', 'PL', 'Ελλάδα', null]

export interface OrderLinesOptions {
  readonly seed: number
  /** Mean event time between two orders. Default 4 s, which makes about 75 a window. */
  readonly everyMs?: number
}

/** Gives line after line; the same ones for the same seed. */
export class OrderLines {
  readonly #random: Random
  readonly #everyMs: number
  readonly #recent: GivenOrder[] = []
  #nowMs = START
  #pace = 1
  #made = 0

  constructor({ seed, everyMs = 4_000 }: OrderLinesOptions) {
    this.#random = new Random().seed(seed, 0)
    this.#everyMs = everyMs
  }

  next(): GivenLine {
    this.#nowMs += this.#random.unit() * 2 * this.#everyMs * this.#pace
    const mood = this.#random.unit()
    // A rush, or a lull; now and then a silence in which windows stay empty, though some come late.
    if (mood < 0.004) this.#pace = this.#pick([0.3, 1, 1, 3])
    if (mood < 0.0005) this.#nowMs += (1 + 2 * this.#random.unit()) * HOUR
    const kind = this.#random.unit()
    if (kind < 0.01) return { text: this.#invalid(), order: null }
    if (kind < 0.04 && this.#recent.length > 0) return lineOf(this.#copy(), false)
    const order = this.#order()
    this.#recent.push(order)
    if (this.#recent.length > 2_000) this.#recent.shift()
    return lineOf(order, kind > 0.95)
  }

  #order(): GivenOrder {
    return {
      order_id: `o-${this.#made++}`,
      customer_id: `c-${Math.floor(this.#random.unit() * 500)}`,
      amount: this.#amount(),
      status: this.#pick(STATUSES),
      country: this.#pick(COUNTRIES),
      timestamp: this.#timestamp(),
    }
  }

  /** Sums of such doubles depend on their order, unless they are exact. */
  #amount(): number {
    const amount = Math.round(this.#random.unit() * 100_000) / 100 + 0.01
    return this.#random.unit() < 0.02 ? -amount * 1_000 : amount
  }

  /** Most come in order, some within the disorder, a few too late for their window. */
  #timestamp(): number {
    const kind = this.#random.unit()
    const delay =
      kind < 0.7
        ? 0
        : kind < 0.98
          ? this.#random.unit() * (DISORDER_MS - MINUTE)
          : DISORDER_MS + this.#random.unit() * HOUR
    return Math.max(START, Math.floor(this.#nowMs - delay))
  }

  /** The same identity, with other content: counted or kept, it would show. */
  #copy(): GivenOrder {
    const { order_id, status } = this.#recent[Math.floor(this.#random.unit() * this.#recent.length)]!
    return { ...this.#order(), order_id, status }
  }

  #invalid(): string {
    const order = this.#order()
    const texts = [
      `{"order_id":"${order.order_id}","customer`,
      JSON.stringify({ ...order, amount: 'much' }),
      JSON.stringify({ ...order, customer_id: undefined }),
      JSON.stringify({ ...order, timestamp: 'yesterday' }),
      `no order at all ${order.order_id}`,
    ]
    return this.#pick(texts)
  }

  #pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random.unit() * values.length)]!
  }
}

function lineOf(order: GivenOrder, amountAsText: boolean): GivenLine {
  const { amount, timestamp } = order
  const json = {
    ...order,
    amount: amountAsText ? String(amount) : amount,
    timestamp: new Date(timestamp).toISOString(),
  }
  return { text: JSON.stringify(json), order }
}
