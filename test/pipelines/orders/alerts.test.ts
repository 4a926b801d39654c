import assert from 'node:assert/strict'
import { alerting, thresholdsOf } from '../../../pipelines/orders/alerts.ts'

const windowOf = (
  order_count: number,
): { window_start: number; window_end: number; order_count: number } => ({
  window_start: 0,
  window_end: 300_000,
  order_count,
})

function typesOf(env: Record<string, string>, counts: readonly number[]): (string | undefined)[] {
  const toAlert = alerting(thresholdsOf(env))
  return counts.map((count) => toAlert(windowOf(count))[0]?.alert_type)
}

describe('order alerts', () => {
  it('are a SPIKE above 1,000 orders and a DROP below 5', () => {
    assert.deepEqual(typesOf({}, [0, 4, 5, 1_000, 1_001]), ['DROP', 'DROP', undefined, undefined, 'SPIKE'])
  })

  it('follow the thresholds that the environment sets', () => {
    const env = { ORDERS_SPIKE_ABOVE: '10', ORDERS_DROP_BELOW: '0' }
    assert.deepEqual(typesOf(env, [0, 10, 11]), [undefined, undefined, 'SPIKE'])
  })

  it('refuse thresholds that cannot be, with what to do', () => {
    assert.throws(
      () => thresholdsOf({ ORDERS_SPIKE_ABOVE: 'many' }),
      /ORDERS_SPIKE_ABOVE is 'many': it must be a whole number/,
    )
    assert.throws(
      () => thresholdsOf({ ORDERS_SPIKE_ABOVE: '3', ORDERS_DROP_BELOW: '5' }),
      /could be both\. Raise the first or lower the second/,
    )
  })
})
