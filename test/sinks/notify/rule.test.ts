import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Alert, Notice } from '../../../sinks/notify/notice.ts'
import { close, maxAgeOfLastMs, quietMs, steps, type Run } from '../../../sinks/notify/rule.ts'

const SIZE_MS = 300_000

/** A window's alert; windows are numbered. */
function alert(kind: string, window: number): Alert {
  const startMs = window * SIZE_MS
  const notice: Notice = {
    key: `${kind}/${window}`,
    severity: 'warn',
    pipeline: 'orders',
    text: kind,
    offset: window,
    window: { startMs, endMs: startMs + SIZE_MS },
    run: null,
  }
  return { group: '[]', kind, notice }
}

/** What is sent of alerts that come in this order; with `ended` the input has ended behind them. */
class Told {
  readonly sent: string[] = []
  run: Run | null = null

  take(one: Alert): void {
    for (const { notice, run } of steps(this.run, one)) {
      if (notice !== null) this.sent.push(said(notice))
      this.run = run
    }
  }

  end(): void {
    const before = this.run
    if (before === null || before.waiting === null) return
    const { notice, run } = close(before)
    this.sent.push(said(notice!))
    this.run = run
  }
}

function said({ key, run }: Notice): string {
  return run === null ? key : `${key}, last of ${run.windows}`
}

function told(...alerts: readonly Alert[]): string[] {
  const all = new Told()
  for (const one of alerts) all.take(one)
  all.end()
  return all.sent
}

describe('a run of equal alerts', () => {
  it('is told of by its first and its last', () => {
    const sent = told(alert('SPIKE', 1), alert('SPIKE', 2), alert('SPIKE', 3), alert('SPIKE', 4))
    assert.deepEqual(sent, ['SPIKE/1', 'SPIKE/4, last of 4'])
  })

  it('of one window is told of once', () => {
    assert.deepEqual(told(alert('DROP', 1)), ['DROP/1'])
  })

  it('ends with another kind: its last comes before the first of the next', () => {
    const sent = told(alert('SPIKE', 1), alert('SPIKE', 2), alert('DROP', 3), alert('DROP', 4))
    assert.deepEqual(sent, ['SPIKE/1', 'SPIKE/2, last of 2', 'DROP/3', 'DROP/4, last of 2'])
  })

  it('ends with a window that has no alert', () => {
    assert.deepEqual(told(alert('SPIKE', 1), alert('SPIKE', 3)), ['SPIKE/1', 'SPIKE/3'])
  })

  it('goes on where it was, when it was taken for over and more of it comes', () => {
    const all = new Told()
    all.take(alert('SPIKE', 1))
    all.take(alert('SPIKE', 2))
    all.end()
    all.take(alert('SPIKE', 3))
    all.take(alert('SPIKE', 4))
    all.end()
    assert.deepEqual(all.sent, ['SPIKE/1', 'SPIKE/2, last of 2', 'SPIKE/4, last of 4'])
  })

  it('takes an update of its latest window for that window, and not for another', () => {
    assert.deepEqual(told(alert('SPIKE', 1), alert('SPIKE', 1)), ['SPIKE/1'])
    assert.deepEqual(told(alert('SPIKE', 1), alert('SPIKE', 2), alert('SPIKE', 2)), [
      'SPIKE/1',
      'SPIKE/2, last of 2',
    ])
  })

  it('is over after two windows without a further row, and its last may be as old as that takes', () => {
    const run: Run = { kind: 'SPIKE', sinceMs: 0, windows: 1, startMs: 0, endMs: SIZE_MS, waiting: null }
    assert.equal(quietMs(run), 2 * SIZE_MS)
    assert.equal(maxAgeOfLastMs(run, 3_600_000), 3_600_000)
    const day = { ...run, endMs: 24 * 3_600_000 }
    assert.equal(maxAgeOfLastMs(day, 3_600_000), 3 * 24 * 3_600_000)
  })

  it('whatever the windows hold: the first and the last of each maximal run, and nothing else', () => {
    const windows = fc.array(fc.constantFrom('SPIKE', 'DROP', null), { maxLength: 60 })
    fc.assert(
      fc.property(windows, (kinds) => {
        const alerts = kinds.flatMap((kind, window) => (kind === null ? [] : [alert(kind, window)]))
        const expected = kinds.flatMap((kind, window) => {
          if (kind === null) return []
          const isFirst = kinds[window - 1] !== kind
          const isLast = kinds[window + 1] !== kind
          if (isFirst) return [`${kind}/${window}`]
          if (!isLast) return []
          let windows = 1
          while (kinds[window - windows] === kind) windows++
          return [`${kind}/${window}, last of ${windows}`]
        })
        assert.deepEqual(told(...alerts), expected)
      }),
    )
  })
})
