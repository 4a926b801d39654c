import assert from 'node:assert/strict'
import { RegistryError, type SchemaRegistry } from '../../schemas/registry.ts'
import {
  boolean,
  bytes,
  double,
  int,
  long,
  optional,
  schema,
  Schema,
  string,
  timestamp,
} from '../../schemas/schema.ts'
import { schemaIdOf, schemaOfAvro, WriterSchemas } from '../../sinks/writer-schemas.ts'

const everything = schema('Everything', {
  text: string(),
  real: double(),
  whole: long(),
  small: int(),
  truth: boolean(),
  time: timestamp(),
  raw: bytes(),
  text_or_null: optional(string()),
  time_or_null: optional(timestamp()),
})

describe('the schema that records were written with', () => {
  it('is known from its Avro text alone', () => {
    const read = schemaOfAvro(everything.avroText)
    assert.equal(read.avroText, everything.avroText)
    assert.equal(
      schemaOfAvro(everything.avroText.replace('"Everything"', '"shop.v1.Everything"')).name,
      'Everything',
    )
  })

  it('is refused where a table could not hold it, or its names would be code', () => {
    const field = (type: unknown, name = 'a'): string =>
      JSON.stringify({ type: 'record', name: 'X', fields: [{ name, type }] })
    for (const text of [
      'no json',
      'null',
      '"string"',
      '{"type":"record","name":"X"}',
      '{"type":"record","name":"X","fields":[]}',
      '{"type":"record","name":"X; process.exit(1)","fields":[{"name":"a","type":"long"}]}',
      field('long', 'a } get b() { process.exit(1) '),
      field('long', 'toObject'),
      field('float'),
      field({ type: 'array', items: 'long' }),
      field('long', 'constructor'),
      field(['long', 'null']),
      field(['null', 'long', 'string']),
      field(['null']),
      field(null),
    ]) {
      assert.throws(() => schemaOfAvro(text), { code: 'INVALID_SCHEMA' }, text)
    }
  })

  it('is asked for once; what the registry does not know is remembered, a registry that is away is not', async () => {
    const asked: number[] = []
    let isAway = true
    const schemas = new WriterSchemas({
      schemaById: (id) => {
        asked.push(id)
        if (isAway) return Promise.reject(new Error('no route'))
        if (id === 1) return Promise.resolve(everything.avroText)
        return Promise.reject(new RegistryError('UNKNOWN_SCHEMA', `no schema ${id}`))
      },
    } as SchemaRegistry)
    await assert.rejects(schemas.load(1), { message: 'no route' })
    assert.equal(schemas.peek(1), undefined)
    isAway = false
    for (let i = 0; i < 3; i++) {
      await schemas.load(1)
      await schemas.load(2)
    }
    assert.ok(schemas.peek(1) instanceof Schema)
    assert.deepEqual(schemas.peek(2), { reason: 'no schema 2' })
    assert.deepEqual(asked, [1, 1, 2])
  })

  it('is named by the five bytes in front of the record', () => {
    assert.equal(schemaIdOf(Buffer.from([9, 0, 0, 0, 1, 2, 9]), 1, 6), 258)
    for (const value of [[], [0], [0, 0, 0, 1], [1, 0, 0, 0, 1], [...Buffer.from('{"a":1}')]]) {
      assert.match(
        (schemaIdOf(Buffer.from(value), 0, value.length) as { reason: string }).reason,
        /registry's header/,
      )
    }
  })
})
