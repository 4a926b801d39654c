import assert from 'node:assert/strict'
import { counted, formatBytes, formatCount, formatElapsed } from '../../../cli/output/format.ts'

describe('figures for people', () => {
  it('group thousands the same way everywhere', () => {
    assert.equal(formatCount(1234567), '1,234,567')
    assert.equal(counted(1, 'window'), '1 window')
    assert.equal(counted(2, 'window'), '2 windows')
    assert.equal(counted(0, 'query', 'queries'), '0 queries')
  })

  it('say sizes in binary units', () => {
    assert.deepEqual([0, 1023, 1024, 1536, 200 * 1024, 3 * 2 ** 30].map(formatBytes), [
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '200 KiB',
      '3.0 GiB',
    ])
  })

  it('say times in the units that fit', () => {
    assert.deepEqual([0, 840, 12_000, 59_600, 200_000, 7_500_000].map(formatElapsed), [
      '0.0 s',
      '0.8 s',
      '12 s',
      '1 min 0 s',
      '3 min 20 s',
      '2 h 5 min',
    ])
  })
})
