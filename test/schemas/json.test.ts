import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { ByteWriter } from '../../log/batch.ts'
import { generateJson, writeNumber } from '../../schemas/codec/json.ts'
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
  const writeRow = generateJson(everything.name, everything.fields)
  const write = (row: object): string => {
    // No more room than was asked for, so that writing beyond it shows.
    const writer = new ByteWriter(0)
    writeRow(writer, row)
    return writer.buffer.toString('utf8', 0, writer.position)
  }

  it('holds numbers as JavaScript writes them, whatever their digits', () => {
    const buffer = Buffer.alloc(40)
    const text = (value: number): string => buffer.toString('latin1', 0, writeNumber(buffer, 0, value))
    const decimal = fc
      .tuple(fc.maxSafeInteger(), fc.integer({ min: 0, max: 9 }))
      .map(([digits, places]) => digits / 10 ** places)
    const small = fc
      .tuple(fc.integer({ min: -100_000, max: 100_000 }), fc.integer({ min: 0, max: 4 }))
      .map(([digits, places]) => digits / 10 ** places)
    const next = small.map((value) => value * (1 + Number.EPSILON))
    const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), decimal, small, next)
    fc.assert(
      fc.property(number, (value) => assert.equal(text(value), String(value))),
      { numRuns: testScale.propertyRuns * 10 },
    )
    for (const edge of [
      0,
      -0,
      1e15,
      1e15 - 1,
      9_999_999_999_999.99,
      1e21,
      1e-7,
      0.05,
      0.1 + 0.2,
      2 ** 53,
      99999999,
      1e8,
    ]) {
      assert.equal(text(edge), String(edge))
      assert.equal(text(-edge), String(-edge))
    }
  })

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
