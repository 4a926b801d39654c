/** Input as the minutes of its records, and what it comes to by the watermark's model. */
import assert from 'node:assert/strict'
import { orderLine, START_MS, type Contents } from './support.ts'

const HOUR_MS = 3_600_000

/** Event times in the order of the source; null stands for a record that is refused. */
export type Minutes = readonly (number | null)[]

export function content(minutes: Minutes): string {
  return minutes.map((minute, id) => `${minute === null ? '{"broken"' : orderLine(id, minute)}\n`).join('')
}

/** The ten-line model of design §7: each record with the greatest event time before it, less the disorder. */
function model(minutes: Minutes): Map<string, { eventTimeMs: number; watermarkMs: number | null }> {
  const expected = new Map<string, { eventTimeMs: number; watermarkMs: number | null }>()
  let greatest = -Infinity
  for (const [id, minute] of minutes.entries()) {
    if (minute === null) continue
    const eventTimeMs = START_MS + minute * 60_000
    const watermarkMs = greatest === -Infinity ? null : greatest - HOUR_MS
    expected.set(`o-${id}`, { eventTimeMs, watermarkMs })
    greatest = Math.max(greatest, eventTimeMs)
  }
  return expected
}

export function assertAsModel({ records, marks }: Contents, minutes: Minutes): void {
  const expected = model(minutes)
  const found = new Map(
    records.map(({ key, eventTimeMs, watermarkMs }) => [key, { eventTimeMs, watermarkMs }]),
  )
  assert.equal(records.length, expected.size, 'each record once')
  assert.deepEqual(found, new Map([...expected].filter(([key]) => found.has(key))))
  assert.equal(found.size, expected.size)
  if (expected.size === 0) return
  const greatest = Math.max(...[...expected.values()].map(({ eventTimeMs }) => eventTimeMs))
  for (const here of marks) {
    const heartbeats = here.flatMap((mark) => (mark.kind === 'heartbeat' ? [mark.t] : []))
    assert.deepEqual(
      heartbeats,
      heartbeats.toSorted((a, b) => a - b),
      'T never falls',
    )
    assert.equal(heartbeats.at(-1), greatest - HOUR_MS)
    assert.deepEqual(here.at(-1), { kind: 'end', e: greatest })
    assert.equal(here.filter(({ kind }) => kind === 'end').length, 1)
  }
}
