import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ByteWriter } from '../../log/batch.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import { Schema, SchemaError, type FieldKind, type Row } from '../../schemas/schema.ts'
import { avscType, kinds, rowOf, schemaAndRow, toAvsc } from './arbitrary.ts'

/** A writer that has the room that was asked for and no byte more, so that writing beyond it shows. */
class ExactWriter extends ByteWriter {
  override ensure(bytes: number): void {
    const grown = Buffer.alloc(this.position + bytes)
    this.buffer.copy(grown, 0, 0, this.position)
    this.buffer = grown
  }
}

function encoded(schema: Schema, row: Row, before = 0): Buffer {
  const writer = new ExactWriter(before)
  writer.position = before
  schema.encode(writer, row)
  return Buffer.from(writer.buffer.subarray(before, writer.position))
}

/** What a reader makes of the bytes, field by field, between neighbours that are filled with `around`. */
function outcome(schema: Schema, bytes: Uint8Array, around: number): unknown[] {
  const buffer = Buffer.alloc(bytes.length + 64, around)
  buffer.set(bytes, 32)
  const view = schema.view().$wrap(buffer, 32, 32 + bytes.length)
  return schema.fields.map(({ name }) => {
    try {
      const value = view[name]
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error
      return error.code
    }
  })
}

describe('the generated codec', () => {
  it('writes the bytes that another Avro implementation writes', () => {
    fc.assert(
      fc.property(schemaAndRow, fc.nat(20), (sample, before) => {
        const expected = avscType(sample.schema).toBuffer(toAvsc(sample))
        assert.deepEqual(encoded(sample.schema, sample.row, before), expected)
      }),
    )
  })

  it('reads what another Avro implementation wrote, as a whole and field by field in any order', () => {
    fc.assert(
      fc.property(schemaAndRow, fc.nat(20), fc.array(fc.nat(39)), (sample, before, touched) => {
        const { schema, row } = sample
        const bytes = avscType(schema).toBuffer(toAvsc(sample))
        const buffer = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(9, 0xff)])
        const end = before + bytes.length
        const view = schema.view().$wrap(buffer, before, end)
        for (const index of touched) {
          const { name } = schema.fields[index % schema.fields.length]!
          const value = view[name]
          assert.deepEqual(value instanceof Uint8Array ? new Uint8Array(value) : value, row[name])
          assert.equal(view[name], value, 'a second touch gives the same value')
        }
        assert.deepEqual(view.toObject(), row)
        assert.deepEqual(schema.decode(buffer, before, end), row)
        assert.equal(view.$startOf(schema.fields.length), end)
      }),
    )
  })

  it('forgets a record when the view is pointed at the next', () => {
    const two = schemaAndRow.chain(({ schema, row }) =>
      fc.record({ schema: fc.constant(schema), row: fc.constant(row), next: rowOf(schema) }),
    )
    fc.assert(
      fc.property(two, fc.array(fc.nat(39)), ({ schema, row, next }, touched) => {
        const first = encoded(schema, row)
        const second = encoded(schema, next)
        const view = schema.view().$wrap(first, 0, first.length)
        for (const index of touched) void view[schema.fields[index % schema.fields.length]!.name]
        assert.deepEqual(view.$wrap(second, 0, second.length).toObject(), next)
        assert.deepEqual(view.$wrap(first, 0, first.length).toObject(), row)
      }),
    )
  })

  it('appends the fields from an index on behind bytes that were copied as they are', () => {
    fc.assert(
      fc.property(schemaAndRow, fc.nat(39), ({ schema, row }, at) => {
        const index = at % schema.fields.length
        const whole = encoded(schema, row)
        const cut = schema.view().$wrap(whole, 0, whole.length).$startOf(index)
        const writer = new ByteWriter(1)
        writer.bytes(whole.subarray(0, cut))
        const rest = Object.fromEntries(schema.fields.slice(index).map(({ name }) => [name, row[name]]))
        schema.encodeFrom(writer, rest, index)
        assert.deepEqual(Buffer.from(writer.buffer.subarray(0, writer.position)), whole)
      }),
    )
  })

  it('refuses every truncated record, and still reads the fields before the cut', () => {
    fc.assert(
      fc.property(
        schemaAndRow,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (sample, share) => {
          const { schema, row } = sample
          const whole = encoded(schema, row)
          const end = Math.floor(whole.length * share)
          assert.throws(() => schema.decode(whole, 0, end), { name: 'SchemaError', code: 'MALFORMED_RECORD' })
          const full = schema.view().$wrap(whole, 0, whole.length)
          const view = schema.view().$wrap(whole, 0, end)
          for (const [index, { name }] of schema.fields.entries()) {
            assert.throws(() => view.$startOf(schema.fields.length), { code: 'MALFORMED_RECORD' })
            if (full.$startOf(index + 1) <= end) assert.deepEqual(view[name], full[name])
            else assert.throws(() => view[name], { code: 'MALFORMED_RECORD' })
          }
        },
      ),
    )
  })

  it('never looks beyond the record, whatever its bytes', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 })
    fc.assert(
      fc.property(schemaAndRow, damage, fc.boolean(), ({ schema, row }, changes, isNoise) => {
        const bytes = encoded(schema, row)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const record = isNoise ? Buffer.from(changes.map(([, value]) => value)) : bytes
        const expected = outcome(schema, record, 0x00)
        assert.deepEqual(outcome(schema, record, 0x02), expected)
        assert.deepEqual(outcome(schema, record, 0xff), expected)
      }),
      { numRuns: 300 },
    )
  })

  const lies: [what: string, kind: FieldKind, optional: boolean, bytes: number[]][] = [
    ['a negative length', 'string', false, [0x01, 0x61]],
    ['a long negative length', 'string', false, [0x81, 0x01, 0x61]],
    ['a length beyond the record', 'bytes', false, [0x06, 0x61, 0x61]],
    ['a length beyond every buffer', 'string', false, [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x61]],
    ['a length without an end', 'string', false, Array<number>(20).fill(0xff)],
    ['an unknown member of a union', 'string', true, [0x04, 0x02, 0x61]],
    ['a negative member of a union', 'string', true, [0x01, 0x02, 0x61]],
    ['a member of a union in two bytes', 'string', true, [0x82, 0x00, 0x02, 0x61]],
    ['a boolean that is neither', 'boolean', false, [0x02]],
    ['an integer beyond 2^53', 'long', false, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ['a 32-bit integer beyond 2^31', 'int', false, [0x80, 0x80, 0x80, 0x80, 0x10]],
    ['half a double', 'double', false, [0, 0, 0, 0]],
  ]
  for (const [what, kind, optional, bytes] of lies) {
    it(`refuses ${what}`, () => {
      const schema = new Schema('Lie', [{ name: 'f', kind, optional, castsText: false }])
      const buffer = Buffer.concat([Buffer.alloc(200, 2), Buffer.from(bytes), Buffer.alloc(200, 2)])
      const read = (): unknown => schema.view().$wrap(buffer, 200, 200 + bytes.length)['f']
      assert.throws(read, { code: 'MALFORMED_RECORD', message: /Lie\.f/ })
    })
  }

  it('finds no field of any kind in an empty record, whatever follows it', () => {
    for (const kind of kinds) {
      for (const optional of [false, true]) {
        const schema = new Schema('Empty', [{ name: 'f', kind, optional, castsText: false }])
        for (const around of [0, 1, 2]) {
          const view = schema.view().$wrap(Buffer.alloc(20, around), 5, 5)
          assert.throws(() => view['f'], { code: 'MALFORMED_RECORD' })
          assert.throws(() => view.$startOf(1), { code: 'MALFORMED_RECORD' })
        }
      }
    }
  })

  it('names the schema and the field that cannot be read', () => {
    const writer = new ByteWriter()
    deadLetterSchema.encode(writer, {
      pipeline: 'orders',
      source: 'orders.ndjson',
      partition: 0,
      position: 7,
      reason: 'missing customer_id',
      payload: Buffer.from('{}'),
      failed_at: 0,
    })
    const lying = Buffer.from(writer.buffer.subarray(0, writer.position))
    lying[0] = 0x7e
    assert.throws(() => deadLetterSchema.decode(lying, 0, lying.length), /DeadLetter\.pipeline .*string/)
    assert.equal(deadLetterSchema.decode(writer.buffer, 0, writer.position).field, null)
  })

  it('keeps what toObject gave when the buffer is used again', () => {
    const schema = new Schema('Raw', [{ name: 'raw', kind: 'bytes', optional: false, castsText: false }])
    const bytes = encoded(schema, { raw: Uint8Array.of(1, 2, 3) })
    const kept = schema.decode(bytes, 0, bytes.length)
    bytes.fill(0)
    assert.deepEqual(kept['raw'], Uint8Array.of(1, 2, 3))
  })

  it('refuses a range outside of the buffer', () => {
    const buffer = Buffer.alloc(10)
    for (const [start, end] of [
      [-1, 5],
      [0, 11],
      [6, 5],
      [NaN, 5],
    ] as const) {
      assert.throws(() => deadLetterSchema.view().$wrap(buffer, start, end), RangeError)
    }
  })
})
