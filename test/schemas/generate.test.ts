import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { order } from '../../pipelines/orders/contract.ts'
import { checkOrWrite, declaredSchemas, renderAvsc } from '../../schemas/generate.ts'
import { schema, string, type Schema } from '../../schemas/schema.ts'
import { schemaAndRow } from './arbitrary.ts'

const root = join(import.meta.dirname, '..', '..')

describe('the .avsc files', () => {
  let directory: string
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'millrace-avsc-'))))
  afterEach(() => rmSync(directory, { recursive: true }))

  it('in the repository are those of the declared schemas', async () => {
    const schemas = await declaredSchemas(join(root, 'pipelines'))
    assert.ok(schemas.length >= 3)
    assert.deepEqual(checkOrWrite(schemas, join(root, 'schemas', 'avsc'), { check: true }), [])
  })

  it('hold the schema; for a contract, that of its source records', () => {
    fc.assert(
      fc.property(schemaAndRow, ({ schema }) =>
        assert.deepEqual(JSON.parse(renderAvsc(schema)), schema.avro),
      ),
    )
    assert.deepEqual(JSON.parse(renderAvsc(order)), order.sourceSchema.avro)
  })

  it('are written where they differ, and removed where nothing declares them', () => {
    const a: Schema = schema('A', { a: string() })
    const b: Schema = schema('B', { b: string() })
    writeFileSync(join(directory, 'Gone.avsc'), '{}')
    writeFileSync(join(directory, 'B.avsc'), renderAvsc(b))
    writeFileSync(join(directory, 'README.md'), 'kept')
    assert.deepEqual(checkOrWrite([a, b], directory, { check: true }), ['A.avsc', 'Gone.avsc'])
    assert.deepEqual(readdirSync(directory).sort(), ['B.avsc', 'Gone.avsc', 'README.md'])
    assert.deepEqual(checkOrWrite([a, b], directory, { check: false }), ['A.avsc', 'Gone.avsc'])
    assert.deepEqual(readdirSync(directory).sort(), ['A.avsc', 'B.avsc', 'README.md'])
    assert.equal(readFileSync(join(directory, 'A.avsc'), 'utf8'), renderAvsc(a))
    assert.deepEqual(checkOrWrite([a, b], directory, { check: true }), [])
  })

  it('are refused when two schemas would share one', () => {
    const one: Schema = schema('A', { a: string() })
    const other: Schema = schema('A', { b: string() })
    assert.throws(
      () => checkOrWrite([one, other], directory, { check: true }),
      /Two different schemas are called A/,
    )
    assert.deepEqual(checkOrWrite([one, one], directory, { check: true }), ['A.avsc'])
  })
})
