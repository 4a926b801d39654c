import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { ByteWriter } from '../../log/batch.ts'
import { jsonWriter } from '../../processor/runtime/operators/json.ts'
import {
  boolean,
  bytes,
  double,
  int,
  long,
  optional,
  schema,
  string,
  timestamp,
} from '../../schemas/schema.ts'

const everything = schema('Everything', {
  text: string(),
  truth: boolean(),
  real: double(),
  whole: long(),
  small: int(),
  at: timestamp(),
  raw: bytes(),
  none: optional(string()),
})

describe('a row as JSON', () => {
  const write = jsonWriter(everything)

  it('holds every field in its order, whatever is in it, and reads as what was written', () => {
    fc.assert(
      fc.property(
        fc.record({
          text: fc.string({ unit: 'binary' }),
          truth: fc.boolean(),
          real: fc.double({ noNaN: true, noDefaultInfinity: true }),
          whole: fc.maxSafeInteger(),
          small: fc.integer(),
          at: fc.integer({ min: -8_000_000_000_000, max: 8_000_000_000_000 }),
          raw: fc.uint8Array(),
          none: fc.option(fc.string({ unit: 'binary' }), { nil: null }),
        }),
        (row) => {
          const read = JSON.parse(write(row)) as Record<string, unknown>
          assert.deepEqual(
            Object.keys(read),
            everything.fields.map(({ name }) => name),
          )
          const raw = Buffer.from(row.raw).toString('base64')
          // JSON knows no negative zero.
          assert.deepEqual(read, { ...row, raw, real: row.real + 0 })
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('is the same from a record as it lies in its topic', () => {
    const row = {
      text: 'ünïcödé "quoted"\n',
      truth: true,
      real: 0.1 + 0.2,
      whole: 2 ** 53 - 1,
      small: -1,
      at: 1_767_225_600_123,
      raw: Buffer.from([0, 255]),
      none: null,
    }
    const writer = new ByteWriter()
    everything.encode(writer, row)
    const view = everything.view().$wrap(writer.buffer, 0, writer.position)
    assert.equal(write(view), write(row))
  })

  it('refuses what the field does not hold, and what JSON cannot say, by the name of the field', () => {
    const row = {
      text: '',
      truth: true,
      real: 0,
      whole: 0,
      small: 0,
      at: 0,
      raw: Buffer.alloc(0),
      none: null,
    }
    for (const [field, value] of [
      ['text', 3],
      ['text', null],
      ['truth', 'yes'],
      ['real', Number.NaN],
      ['real', Infinity],
      ['whole', 0.5],
      ['small', 2 ** 31],
      ['at', '2026-01-01'],
      ['raw', 'text'],
      ['none', 1],
    ] as const) {
      assert.throws(() => write({ ...row, [field]: value }), {
        code: 'INVALID_VALUE',
        message: new RegExp(`Everything\\.${field}: ${String(value)}`),
      })
    }
  })
})
