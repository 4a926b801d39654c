import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { Cells } from '../../processor/windows/cells.ts'
import { addToSum, ExactSum, mergeSum, sumOf, SUM_CELLS } from '../../processor/windows/exact-sum.ts'

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

const anything = fc.double({ noNaN: true, min: -(2 ** 900), max: 2 ** 900 })
/** Sums of these need two terms, or one; those that cancel leave little. */
const price = fc.integer({ min: -10_000_000, max: 10_000_000 }).map((cents) => cents / 100)
/** Three terms and more, which nearly overlap or cancel. */
const spread = fc
  .tuple(fc.integer({ min: -3, max: 3 }), fc.constantFrom(0, 1, 52, 53, 54, 105, 106, 107, 160, -60, -1060))
  .map(([factor, power]) => factor * 2 ** power)
const amount = fc.oneof(anything, price, spread)

function cellsOf(values: readonly number[]): Cells {
  const cells = new Cells(SUM_CELLS)
  for (const value of values) addToSum(cells, 0, value)
  return cells
}

function expansionOf(values: readonly number[]): ExactSum {
  const sum = new ExactSum()
  for (const value of values) sum.add(value)
  return sum
}

const kinds: Record<string, (values: readonly number[]) => number> = {
  'as an expansion': (values) => expansionOf(values).value(),
  'in cells': (values) => sumOf(cellsOf(values), 0),
}

for (const [name, valueOf] of Object.entries(kinds)) {
  describe(`the sum of doubles, ${name}`, () => {
    it('keeps what ordinary addition loses', () => {
      assert.equal(valueOf([1e16, 1, -1e16]), 1)
      assert.equal(valueOf(Array.from({ length: 10 }, () => 0.1)), 1)
      assert.equal(valueOf([2 ** 200, 2 ** 100, 1, 2 ** -100, -(2 ** 200), -(2 ** 100), -1]), 2 ** -100)
    })

    it('is 0, not a negative one, of nothing', () => {
      assert.equal(valueOf([]), 0)
      assert.equal(valueOf([-0]), 0)
      assert.equal(valueOf([-0, -0]), 0)
    })

    it('is the double next to the exact sum, whatever the order', () => {
      fc.assert(
        fc.property(fc.array(amount, { maxLength: 40 }), (values) => {
          const result = valueOf(values)
          assert.equal(valueOf([...values].reverse()), result)
          const total = values.map(exact).reduce((a, b) => a + b, 0n)
          const error = (candidate: number): bigint => {
            const difference = exact(candidate) - total
            return difference < 0n ? -difference : difference
          }
          const spacing = Math.max(Number.MIN_VALUE, Math.abs(result) * 2 ** -52)
          for (const neighbour of [result - spacing, result + spacing]) {
            assert.ok(
              error(result) <= error(neighbour),
              `${result} is further from the sum than ${neighbour}`,
            )
          }
        }),
        { numRuns: testScale.propertyRuns },
      )
    })
  })
}

describe('a sum in cells', () => {
  it('is what the expansion is, however many terms that takes', () => {
    fc.assert(
      fc.property(fc.array(amount, { maxLength: 60 }), (values) => {
        assert.equal(sumOf(cellsOf(values), 0), expansionOf(values).value())
      }),
      { numRuns: testScale.propertyRuns * 5 },
    )
  })

  it('keeps sums of prices in its two cells', () => {
    fc.assert(
      fc.property(fc.array(price, { maxLength: 1_000 }), (values) => {
        assert.equal(cellsOf(values).outgrown.size, 0)
      }),
      { numRuns: testScale.slowPropertyRuns },
    )
  })

  it('does not depend on how it was split over partitions', () => {
    fc.assert(
      fc.property(fc.array(fc.array(amount, { maxLength: 10 }), { maxLength: 8 }), (parts) => {
        const merged = new Cells(SUM_CELLS)
        for (const part of parts) mergeSum(merged, 0, cellsOf(part), 0)
        assert.equal(sumOf(merged, 0), expansionOf(parts.flat()).value())
      }),
      { numRuns: testScale.propertyRuns },
    )
  })
})
