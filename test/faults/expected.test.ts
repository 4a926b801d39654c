import assert from 'node:assert/strict'
import { expectedRows, textOf, TOPICS } from './expected.ts'
import { OrderLines, type GivenLine, type GivenOrder } from './input.ts'

const NOON = Date.UTC(2024, 0, 1, 12)
const MINUTE = 60_000
const THRESHOLDS = { spikeAbove: 2, dropBelow: 1 }

function order(order_id: string, minute: number, amount: number, status = 'pending'): GivenLine {
  const given: GivenOrder = {
    order_id,
    customer_id: 'c',
    amount,
    status,
    country: null,
    timestamp: NOON + minute * MINUTE,
  }
  return { text: JSON.stringify(given), order: given }
}

const rowsOf = (topic: string, ...lines: readonly GivenLine[]): readonly string[] =>
  expectedRows(lines, THRESHOLDS).get(topic)!

const metric = (minute: number, count: number, revenue: number): string =>
  textOf({
    window_start: NOON + minute * MINUTE,
    window_end: NOON + (minute + 5) * MINUTE,
    order_count: count,
    total_revenue: revenue,
    avg_order_value: count === 0 ? null : revenue / count,
  })

describe('what a fault run expects', () => {
  it('is one row for every five minutes, the empty ones between included', () => {
    assert.deepEqual(rowsOf(TOPICS.metrics, order('a', 0, 1), order('b', 4.9, 2), order('c', 10, 4)), [
      metric(0, 2, 3),
      metric(5, 0, 0),
      metric(10, 1, 4),
    ])
  })

  it('adds amounts exactly, in whatever order they come', () => {
    const amounts = [0.1, 1e15, 0.2, -1e15]
    const lines = amounts.map((amount, i) => order(`o-${i}`, 1, amount))
    // 0.1 + 0.2 as the doubles that they are, rounded once.
    assert.deepEqual(rowsOf(TOPICS.metrics, ...lines), [metric(0, 4, 0.30000000000000004)])
    assert.deepEqual(rowsOf(TOPICS.metrics, ...lines.toReversed()), [metric(0, 4, 0.30000000000000004)])
  })

  it('takes the first of two with the same order and status, wherever they lie', () => {
    const lines = [order('a', 0, 1), order('a', 7, 2), order('a', 1, 4, 'delivered')]
    assert.deepEqual(rowsOf(TOPICS.metrics, ...lines), [metric(0, 2, 5), metric(5, 0, 0)])
    assert.equal(rowsOf(TOPICS.orders, ...lines).length, 2)
    assert.equal(rowsOf(TOPICS.source, ...lines).length, 3)
  })

  it('is late from an hour, five minutes and thirty seconds behind the greatest before it', () => {
    const last = (minute: number): [GivenLine, GivenLine] => [order('a', minute, 1), order('b', 0, 1)]
    assert.equal(rowsOf(TOPICS.late, ...last(65.49)).length, 0)
    assert.deepEqual(rowsOf(TOPICS.late, ...last(65.5)), [
      textOf({
        ...last(65.5)[1].order!,
        window_start: NOON,
        window_end: NOON + 5 * MINUTE,
        watermark: NOON + 5.5 * MINUTE,
        late_mark: 'watermark',
      }),
    ])
  })

  it('alerts above and below the thresholds, and keeps quiet at them', () => {
    const lines = [1, 2, 3].map((n) => order(`a-${n}`, 0, 1))
    lines.push(...[1, 2].map((n) => order(`b-${n}`, 5, 1)), order('c', 15, 1))
    const types = rowsOf(TOPICS.alerts, ...lines).map((row) => {
      const { alert_type, window_start } = JSON.parse(row) as { alert_type: string; window_start: number }
      return [alert_type, (window_start - NOON) / MINUTE]
    })
    assert.deepEqual(types, [
      ['SPIKE', 0],
      ['DROP', 10],
    ])
  })

  it('keeps what is no order with its place in the file, in bytes', () => {
    const invalid: GivenLine = { text: 'Ελλάδα', order: null }
    const first = order('a', 0, 1)
    assert.deepEqual(rowsOf(TOPICS.deadLetters, invalid, first, invalid), [
      textOf({ position: 0, payload: 'Ελλάδα' }),
      textOf({ position: 13 + Buffer.byteLength(first.text) + 1, payload: 'Ελλάδα' }),
    ])
  })
})

describe('the input of a fault run', () => {
  it('is the same for the same seed', () => {
    const texts = (seed: number): string[] => {
      const lines = new OrderLines({ seed })
      return Array.from({ length: 500 }, () => lines.next().text)
    }
    assert.deepEqual(texts(1), texts(1))
    assert.notDeepEqual(texts(1), texts(2))
  })
})
