import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ExactSum } from '../../processor/windows/exact-sum.ts'

/** A double as an exact multiple of 2^-1074. */
function exact(x: number): bigint {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, x)
  const bits = view.getBigUint64(0)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & ((1n << 52n) - 1n)
  const magnitude = exponent === 0 ? fraction : (fraction | (1n << 52n)) << BigInt(exponent - 1)
  return bits >> 63n === 1n ? -magnitude : magnitude
}

const amount = fc.double({ noNaN: true, min: -(2 ** 900), max: 2 ** 900 })

function sumOf(values: readonly number[]): ExactSum {
  const sum = new ExactSum()
  for (const value of values) sum.add(value)
  return sum
}

describe('the sum of doubles', () => {
  it('keeps what ordinary addition loses', () => {
    assert.equal(sumOf([1e16, 1, -1e16]).value(), 1)
    assert.equal(sumOf(Array.from({ length: 10 }, () => 0.1)).value(), 1)
  })

  it('is the double next to the exact sum, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(amount, { maxLength: 40 }), (values) => {
        const result = sumOf(values).value()
        assert.equal(sumOf([...values].reverse()).value(), result)
        const total = values.map(exact).reduce((a, b) => a + b, 0n)
        const error = (candidate: number): bigint => {
          const difference = exact(candidate) - total
          return difference < 0n ? -difference : difference
        }
        const spacing = Math.max(Number.MIN_VALUE, Math.abs(result) * 2 ** -52)
        for (const neighbour of [result - spacing, result + spacing]) {
          assert.ok(error(result) <= error(neighbour), `${result} is further from the sum than ${neighbour}`)
        }
      }),
    )
  })

  it('does not depend on how it was split over partitions', () => {
    fc.assert(
      fc.property(fc.array(fc.array(amount, { maxLength: 10 }), { maxLength: 8 }), (parts) => {
        const merged = new ExactSum()
        for (const part of parts) merged.merge(sumOf(part))
        assert.equal(merged.value(), sumOf(parts.flat()).value())
      }),
    )
  })
})
