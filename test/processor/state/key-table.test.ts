import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { hashKey, KeyTable, type KeyHash } from '../../../processor/state/key-table.ts'

const HASHES: Record<string, KeyHash> = {
  'a good hash': hashKey,
  'a hash that tells four kinds apart': (bytes, start, end) => (end > start ? bytes[start]! & 3 : 0),
  'a hash under which all keys collide': () => 42,
  'a hash with the sign bit set': () => -1,
}

const key = fc.oneof(
  fc.uint8Array({ maxLength: 3 }),
  fc.uint8Array({ maxLength: 40 }),
  fc.nat(40).map((n) => Buffer.from(`key-${n}`)),
)

type Step =
  | { readonly kind: 'add'; readonly key: Uint8Array }
  | { readonly kind: 'keep'; readonly every: number }
  | { readonly kind: 'clear' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 40, arbitrary: key.map((bytes) => ({ kind: 'add' as const, key: bytes })) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 4 }).map((every) => ({ kind: 'keep' as const, every })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'clear' as const }) },
)

/** The slot of a key that lies somewhere in other bytes. */
function slotOf(table: KeyTable, bytes: Uint8Array): number {
  const around = Buffer.concat([Buffer.from([1, 2, 3]), bytes, Buffer.from([0, 0])])
  const end = 3 + bytes.length
  return table.find(table.hashOf(around, 3, end), around, 3, end)
}

function add(table: KeyTable, bytes: Uint8Array): number {
  return table.insert(table.hashOf(bytes, 0, bytes.length), bytes, 0, bytes.length)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('a table of keys', () => {
  for (const [name, hash] of Object.entries(HASHES)) {
    it(`finds what a Map finds, through growth and what is let go, with ${name}`, () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 200 }), fc.array(key, { maxLength: 10 }), (steps, others) => {
          const table = new KeyTable(hash)
          let model: string[] = []
          for (const next of steps) {
            if (next.kind === 'clear') {
              table.clear()
              model = []
            } else if (next.kind === 'keep') {
              const slots = model.map((_, slot) => slot).filter((slot) => slot % next.every === 0)
              table.keep(Int32Array.from(slots))
              model = slots.map((slot) => model[slot]!)
            } else {
              const found = slotOf(table, next.key)
              assert.equal(found, model.indexOf(hex(next.key)))
              if (found < 0) {
                assert.equal(add(table, next.key), model.length)
                model.push(hex(next.key))
              }
            }
          }
          assert.equal(table.count, model.length)
          for (const [slot, text] of model.entries()) {
            assert.equal(slotOf(table, Buffer.from(text, 'hex')), slot)
            assert.equal(hex(table.keys.subarray(table.startOf(slot), table.endOf(slot))), text)
          }
          for (const other of others) assert.equal(slotOf(table, other), model.indexOf(hex(other)))
        }),
        { numRuns: testScale.propertyRuns },
      )
    })
  }

  it('orders keys by their bytes, the shorter of two that begin alike first', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 30, selector: hex }), (keys) => {
        const table = new KeyTable()
        for (const bytes of keys) add(table, bytes)
        const slots = keys.map((_, slot) => slot).sort((a, b) => table.compare(a, b))
        const expected = keys.map((bytes) => Buffer.from(bytes)).sort((a, b) => Buffer.compare(a, b))
        assert.deepEqual(
          slots.map((slot) => hex(keys[slot]!)),
          expected.map(hex),
        )
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('spreads keys that differ in a few bits over all bits of the hash', () => {
    const seen = Array.from({ length: 32 }, () => 0)
    const keys = 4_096
    for (let i = 0; i < keys; i++) {
      const bytes = Buffer.from(`key-${i}`)
      const hash = hashKey(bytes, 0, bytes.length)
      for (let bit = 0; bit < 32; bit++) seen[bit]! += (hash >>> bit) & 1
    }
    for (const [bit, count] of seen.entries()) {
      assert.ok(Math.abs(count - keys / 2) < keys / 10, `bit ${bit} is set in ${count} of ${keys} hashes`)
    }
  })

  it('takes no more than forty bytes beside each of many keys', () => {
    const table = new KeyTable()
    let keyBytes = 0
    for (let i = 0; i < 100_000; i++) {
      const bytes = Buffer.from(`key-${i}`)
      keyBytes += bytes.length
      add(table, bytes)
    }
    assert.ok(table.byteLength - keyBytes <= 40 * table.count, `${table.byteLength} bytes`)
  })
})
