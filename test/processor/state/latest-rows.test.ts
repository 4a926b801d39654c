import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { BatchBuilder, KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../../log/batch.ts'
import { LatestRows } from '../../../processor/state/latest-rows.ts'
import type { StateRecords } from '../../../processor/state/port.ts'

const PLACE = { topic: 'changes', partition: 0 }

type Row = readonly [key: Uint8Array, value: Uint8Array | null]

const row = fc.tuple(
  fc.oneof(
    fc.nat(30).map((n) => Buffer.from(`key-${n}`)),
    fc.uint8Array({ maxLength: 40 }),
  ),
  fc.option(fc.uint8Array({ maxLength: 60 }), { freq: 6 }),
)

function batchOf(rows: readonly Row[]): StateRecords {
  const batch = new BatchBuilder(PLACE.topic, PLACE.partition)
  for (const [key, value] of rows) batch.append(key, value)
  return batch
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function contents({ buffer, positions, count }: StateRecords): [string, string | null][] {
  return Array.from({ length: count }, (_, i) => {
    const at = (column: number): number => positions[i * STRIDE + column]!
    const value = at(VALUE_END) < 0 ? null : hex(buffer.subarray(at(VALUE_START), at(VALUE_END)))
    return [hex(buffer.subarray(at(KEY_START), at(KEY_END))), value]
  })
}

describe('the latest rows of a changelog', () => {
  it('are what a Map holds in the end, each key once, whatever grew, shrank or was deleted', () => {
    fc.assert(
      fc.property(fc.array(fc.array(row, { maxLength: 80 }), { maxLength: 6 }), (batches) => {
        const rows = new LatestRows(PLACE)
        // What was applied before stays nowhere.
        rows.take(batchOf([[Buffer.from('key-1'), Buffer.from('before')]]))
        rows.clear()
        const model = new Map<string, string | null>()
        for (const batch of batches) {
          rows.take(batchOf(batch))
          for (const [key, value] of batch) model.set(hex(key), value === null ? null : hex(value))
        }
        assert.deepEqual(contents(rows), [...model])
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('take no more room for values that are as long as the ones before', () => {
    const rows = new LatestRows(PLACE)
    const keys = Array.from({ length: 1_000 }, (_, i) => Buffer.from(`key-${i}`))
    const valuesOf = (round: number): Row[] => keys.map((key) => [key, Buffer.alloc(20, round)])
    rows.take(batchOf(valuesOf(0)))
    const once = rows.byteLength
    for (let round = 1; round < 50; round++) rows.take(batchOf(valuesOf(round)))
    assert.equal(rows.byteLength, once)
    assert.ok(once < 1_000 * 100, `${once} bytes`)
    assert.deepEqual(new Set(contents(rows).map(([, value]) => value)), new Set([hex(Buffer.alloc(20, 49))]))
  })
})
