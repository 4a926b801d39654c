import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ByteWriter } from '../../log/batch.ts'
import {
  boolean,
  bytes,
  double,
  extend,
  int,
  long,
  optional,
  schema,
  string,
  timestamp,
  type Field,
  type Fields,
} from '../../schemas/schema.ts'

describe('a schema', () => {
  it('has an Avro form that does not depend on how it was made', () => {
    const whole = schema('Item', { id: string(), at: optional(timestamp()) })
    const grown = extend(schema('Item', { id: string() }), { at: optional(timestamp()) })
    assert.equal(grown.avroText, whole.avroText)
    assert.deepEqual(JSON.parse(whole.avroText), {
      type: 'record',
      name: 'Item',
      fields: [
        { name: 'id', type: 'string' },
        { name: 'at', type: ['null', { type: 'long', logicalType: 'timestamp-micros' }], default: null },
      ],
    })
    assert.equal(extend(whole, { more: int() }, 'Other').avro.name, 'Other')
  })

  it('refuses names that could not be generated code, or that every object has', () => {
    const bad = [
      '',
      '1a',
      'a-b',
      'a b',
      'a.b',
      '$wrap',
      'a$',
      'é',
      'constructor',
      'toString',
      'toObject',
      'a;b',
    ]
    for (const name of [...bad, 'x\n', '}']) {
      assert.throws(() => schema('Item', { [name]: string() }), { code: 'INVALID_SCHEMA' }, name)
    }
    const inherited = JSON.parse('{"__proto__": {"kind": "string"}}') as Fields
    assert.throws(() => schema('Item', inherited), { code: 'INVALID_SCHEMA' })
    for (const name of ['', 'Or der', 'Order"', '$Order']) {
      assert.throws(() => schema(name, { id: string() }), { code: 'INVALID_SCHEMA' }, name)
    }
    assert.throws(() => schema('Item', {}), /no fields/)
  })

  it('never evaluates a name: whatever it is, it is refused or only names a field', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        try {
          assert.deepEqual(
            schema('Item', { [name]: string() }).fields.map((field) => field.name),
            [name],
          )
          assert.match(name, /^\w+$/)
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'INVALID_SCHEMA')
        }
      }),
    )
  })

  it('refuses to be extended by a field that it has', () => {
    assert.throws(
      () => extend(schema('Item', { id: string() }), { id: long() }),
      /Item has a field id already/,
    )
  })

  const refusals: [field: Field, value: unknown, said: RegExp][] = [
    [string(), 1, /Item\.f cannot be written: expected text, got a number/],
    [string(), null, /expected text, got null/],
    [string(), undefined, /expected text, got nothing/],
    [double(), '1', /expected a number, got text/],
    [long(), 1.5, /expected an integer/],
    [long(), 2 ** 53, /within ±\(2\^53 - 1\)/],
    [long(), NaN, /got NaN/],
    [int(), 2 ** 31, /32 bits/],
    [int(), '1', /32 bits, got text/],
    [boolean(), 1, /true or false/],
    [timestamp(), NaN, /epoch milliseconds/],
    [timestamp(), new Date(), /got an object/],
    [timestamp(), 9e12, /1692 and 2248/],
    [bytes(), [1], /expected bytes, got an array/],
    [optional(long()), 'x', /or null, got text/],
  ]
  for (const [field, value, said] of refusals) {
    it(`refuses to write ${typeof value} ${String(value)} as ${field.optional ? 'optional ' : ''}${field.kind}`, () => {
      const writer = new ByteWriter()
      writer.position = 3
      const item = schema('Item', { before: string(), f: field })
      const write = (): void => item.encode(writer, { before: 'x', f: value } as never)
      assert.throws(write, { name: 'SchemaError', code: 'INVALID_VALUE', message: said })
      assert.equal(writer.position, 3, 'the writer is as it was')
    })
  }

  it('writes an optional field that is left out as null', () => {
    const item = schema('Item', { id: string(), note: optional(string()) })
    const writer = new ByteWriter()
    item.encode(writer, { id: 'a' })
    assert.deepEqual(item.decode(writer.buffer, 0, writer.position), { id: 'a', note: null })
  })

  it('reads records of a schema that extends it', () => {
    const base = schema('Item', { id: string() })
    const writer = new ByteWriter()
    extend(base, { count: long() }).encode(writer, { id: 'a', count: 1 })
    assert.deepEqual(base.decode(writer.buffer, 0, writer.position), { id: 'a' })
  })

  it('replaces half a surrogate pair, which has no UTF-8', () => {
    const item = schema('Item', { id: string() })
    const writer = new ByteWriter()
    item.encode(writer, { id: 'a\ud800' })
    assert.deepEqual(item.decode(writer.buffer, 0, writer.position), { id: 'a\ufffd' })
  })
})
