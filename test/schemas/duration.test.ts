import assert from 'node:assert/strict'
import { parseDurationMs, type Duration } from '../../schemas/duration.ts'

describe('a duration', () => {
  const durations: [Duration, number][] = [
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1.5h', 5_400_000],
    ['1d', 86_400_000],
    ['30y', 946_728_000_000],
    ['0s', 0],
    [1500, 1500],
    [0, 0],
  ]
  for (const [duration, ms] of durations) {
    it(`of ${String(duration)} is ${ms} ms`, () => assert.equal(parseDurationMs(duration), ms))
  }

  const none = [
    '',
    '5',
    '5 m',
    '5min',
    '1h30m',
    '-5m',
    'm',
    '1e3s',
    '5M',
    -1,
    NaN,
    Infinity,
    null,
    undefined,
    {},
  ]
  for (const value of none) {
    it(`is not ${JSON.stringify(value)}`, () => {
      assert.throws(() => parseDurationMs(value as Duration, "Order's disorder"), {
        code: 'INVALID_DURATION',
        message: /is not Order's disorder: write .*'5m'/,
      })
    })
  }
})
