import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { ByteWriter } from '../../../log/batch.ts'
import { isText, keyBytesOf, keySchema } from '../../../processor/runtime/operators/key-bytes.ts'
import { schema, string, long, type FieldDefinition, type Row } from '../../../schemas/schema.ts'
import { schemaAndRow, rowOf, type SchemaAndRow } from '../../schemas/arbitrary.ts'

interface Sample extends SchemaAndRow {
  readonly other: Row
  readonly columns: readonly FieldDefinition[]
}

const sample: fc.Arbitrary<Sample> = schemaAndRow.chain(({ schema: of, row }) =>
  fc
    .record({
      other: rowOf(of),
      chosen: fc.uniqueArray(fc.nat(of.fields.length - 1), { minLength: 1, maxLength: 3 }),
      // Rows that are alike in most columns.
      shared: fc.array(fc.boolean(), { minLength: of.fields.length, maxLength: of.fields.length }),
    })
    .map(({ other, chosen, shared }) => ({
      schema: of,
      row,
      other: Object.fromEntries(of.fields.map(({ name }, i) => [name, shared[i] ? row[name] : other[name]])),
      columns: chosen.map((index) => of.fields[index]!),
    })),
)

function viewOf({ schema: of }: SchemaAndRow, row: Row): Row {
  const writer = new ByteWriter()
  writer.bytes(Buffer.from([9, 9]))
  of.encode(writer, row)
  return of
    .view()
    .$wrap(Buffer.concat([writer.buffer.subarray(0, writer.position), Buffer.from([9])]), 2, writer.position)
}

/** As JavaScript tells values apart, but for the sign of a zero. */
function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  return a === b || Object.is(a, b)
}

function keyOf(
  { schema: of, row, columns }: Sample,
  value: unknown,
  over: 'view' | 'extended' | 'object',
): string {
  const view = over === 'object' ? null : { fields: of.fields, isExtended: over === 'extended' }
  const key = keyBytesOf(columns, view)
  key.read(over === 'extended' ? { ...row, $base: value } : value)
  return key.buffer.toString('hex', key.start, key.end)
}

describe('the key of a value', () => {
  it('is the same for the same columns, and for no others', () => {
    fc.assert(
      fc.property(sample, (of) => {
        const areSame = of.columns.every(({ name }) => same(of.row[name], of.other[name]))
        const [first, second] = [viewOf(of, of.row), viewOf(of, of.other)]
        assert.equal(keyOf(of, first, 'view') === keyOf(of, second, 'view'), areSame)
        assert.equal(keyOf(of, first, 'extended'), keyOf(of, first, 'view'))
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('is the same for an object as for a view, unless it is one text', () => {
    fc.assert(
      fc.property(sample, (of) => {
        fc.pre(!isText(of.columns))
        assert.equal(keyOf(of, of.row, 'object'), keyOf(of, viewOf(of, of.row), 'view'))
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('reads back as its columns, one text as itself', () => {
    fc.assert(
      fc.property(sample, (of) => {
        const bytes = Buffer.from(keyOf(of, viewOf(of, of.row), 'view'), 'hex')
        if (isText(of.columns)) {
          const text = of.row[of.columns[0]!.name] as string
          assert.equal(bytes.toString('utf8'), text.toWellFormed())
          return
        }
        const read = keySchema(of.columns).decode(bytes, 0, bytes.length)
        for (const { name } of of.columns) assert.ok(same(read[name], of.row[name]), name)
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('does not depend on how a foreign writer has put it', () => {
    const event = schema('Event', { name: string(), number: long() })
    const read = (columns: readonly string[], ...bytes: number[]): string => {
      const fields = columns.map((column) => event.fields.find(({ name }) => name === column)!)
      const key = keyBytesOf(fields, { fields: event.fields, isExtended: false })
      key.read(event.view().$wrap(Buffer.from(bytes), 0, bytes.length))
      return key.buffer.toString('hex', key.start, key.end)
    }
    for (const columns of [['number'], ['name', 'number'], ['name']]) {
      const plain = read(columns, 2, 0x61, 4)
      // A needless zero behind the number, or behind the text's length.
      assert.equal(read(columns, 2, 0x61, 0x84, 0), plain)
      assert.equal(read(columns, 0x82, 0, 0x61, 4), plain)
      // Bytes that are no UTF-8 read as the same text.
      assert.equal(read(columns, 2, 0xff, 4), read(columns, 2, 0xfe, 4))
      assert.equal(read(columns, 6, 0xef, 0xbf, 0xbd, 4), read(columns, 2, 0xfe, 4))
    }
  })
})
