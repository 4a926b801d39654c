import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { files, type FilesOptions } from '../../../bridge/files/files-input.ts'
import { testScale } from '../../../config/test-scale.ts'
import { contract } from '../../../schemas/contract.ts'
import { boolean, double, int, long, optional, string, timestamp } from '../../../schemas/schema.ts'
import { Scratch } from '../support.ts'
import { readWithCrashes } from './crashing-reader.ts'
import { csvOf, selectOf, writeAvro, writeParquet, type Row } from './written.ts'

const { fields } = contract(
  'Order',
  {
    order_id: string(),
    customer_id: string(),
    amount: double(),
    note: optional(string()),
    at: optional(timestamp()),
  },
  { id: ['order_id'], key: 'order_id', eventTime: 'at', disorder: '1h' },
).schema

const text = fc.oneof(
  fc.string({ maxLength: 12, unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
  fc.constantFrom(
    'a,b',
    'say "so"',
    '"',
    'two\nlines',
    '{',
    '}]',
    '[',
    '\\',
    '\\"',
    ' x ',
    'é,ü',
    '€;',
    '\u2028',
  ),
)
const row: fc.Arbitrary<Row> = fc.record({
  order_id: fc.nat({ max: 1e6 }).map((id) => `o-${id}`),
  customer_id: text.map((text) => `c${text.isWellFormed() ? text : ''}`),
  amount: fc.nat({ max: 1e6 }).map((cents) => cents / 100),
  note: fc.option(text.filter((text) => text !== '' && text.isWellFormed())),
})
const rows = fc.array(row, { maxLength: 30 })
const moments = fc.array(fc.constantFrom('read', 'commit', 'crash', 'crash'), { maxLength: 60 })
const chunkBytes = fc.integer({ min: 1, max: 300 })

/** How each format writes the rows: the name of the file says which. */
const WRITERS: Readonly<Record<string, (path: string, rows: readonly Row[]) => Promise<void>>> = {
  'a.ndjson': (path, rows) => writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join('')),
  'array.json': (path, rows) => writeFile(path, JSON.stringify(rows)),
  'pretty.json': (path, rows) => writeFile(path, `\ufeff\n${JSON.stringify(rows, null, 2)}\r\n`),
  'sequence.json': (path, rows) =>
    writeFile(path, rows.map((row) => JSON.stringify(row, null, 1)).join('\n')),
  'array.json.gz': (path, rows) => writeFile(path, gzipSync(JSON.stringify(rows))),
  'a.csv': (path, rows) => writeFile(path, csvOf(rows)),
  'crlf.csv': (path, rows) => writeFile(path, `\ufeff${csvOf(rows, { newline: '\r\n' })}`),
  'open.csv': (path, rows) => writeFile(path, csvOf(rows, { delimiter: ';', last: '' })),
  'tabs.csv.gz': (path, rows) => writeFile(path, gzipSync(csvOf(rows, { delimiter: '\t' }))),
  'plain.avro': (path, rows) => writeAvro(path, rows, { blockSize: 100 }),
  'deflate.avro': (path, rows) => writeAvro(path, rows, { codec: 'deflate', blockSize: 300 }),
  'snappy.avro': (path, rows) => writeAvro(path, rows, { codec: 'snappy', blockSize: 300 }),
}

function plain(values: readonly unknown[]): unknown[] {
  return values.map((value) => {
    const { order_id, customer_id, amount, note } = value as Row
    return { order_id, customer_id, amount, note: note ?? null }
  })
}

describe('files as they are: each format, killed anywhere, gives each record once', () => {
  let scratch: Scratch
  before(async () => {
    scratch = await Scratch.make()
  })
  after(() => scratch.remove())

  const input = (path: string, options: Partial<FilesOptions> = {}) =>
    files({ paths: [path], fields, ...options })

  for (const [name, write] of Object.entries(WRITERS)) {
    it(`${name}: any rows, in any chunks`, async () => {
      const path = join(scratch.path, name)
      await fc.assert(
        fc.asyncProperty(rows, chunkBytes, moments, async (rows, chunkBytes, moments) => {
          await write(path, rows)
          const { values, refused, notices } = await readWithCrashes(input(path, { chunkBytes }), moments)
          assert.deepEqual(plain(values), plain(rows))
          assert.deepEqual([refused, notices], [[], []])
        }),
        { numRuns: testScale.propertyRuns },
      )
    })
  }

  it('a.parquet: any rows, from any row', async () => {
    const path = join(scratch.path, 'a.parquet')
    // Rows come 2048 at a time.
    const many = Array.from({ length: 9_000 }, (_, id) => ({
      order_id: `o-${id}`,
      customer_id: `c${id % 7}`,
      amount: id / 4,
      note: id % 3 === 0 ? null : `n\n${id}`,
    }))
    await writeParquet(path, selectOf(many), ', row_group_size 4096')
    await fc.assert(
      fc.asyncProperty(moments, async (moments) => {
        const { values, refused } = await readWithCrashes(input(path), moments)
        assert.deepEqual(plain(values), many)
        assert.deepEqual(refused, [])
      }),
      { numRuns: Math.ceil(testScale.propertyRuns / 10) },
    )
  })

  it('finds the format by content where the name does not say it', async () => {
    for (const [name, write] of Object.entries(WRITERS)) {
      if (name.includes('.csv')) continue
      const path = join(scratch.path, `unnamed-${name.replaceAll('.', '-')}`)
      const rows = [{ order_id: 'a', customer_id: 'b', amount: 1.5, note: null }]
      await write(path, rows)
      if (name === 'sequence.json') continue
      assert.deepEqual(plain((await readWithCrashes(input(path))).values), rows, name)
    }
    const path = join(scratch.path, 'unnamed-parquet')
    await writeParquet(path, `select 'a' order_id, 'b' customer_id, 1.5 amount, null::varchar note`)
    assert.equal((await readWithCrashes(input(path))).values.length, 1)
  })

  it('takes the format that it is told', async () => {
    const path = await scratch.file('orders.txt', 'order_id,customer_id,amount\no-1,c,2\n')
    assert.equal((await readWithCrashes(input(path, { format: 'csv' }))).values.length, 1)
  })
})

describe("CSV's text becomes what the contract says", () => {
  const { fields } = contract(
    'Mixed',
    {
      id: string(),
      whole: optional(long()),
      small: optional(int()),
      share: optional(double()),
      yes: optional(boolean()),
      at: optional(timestamp()),
    },
    { id: ['id'], key: 'id', eventTime: 'at', disorder: '1h' },
  ).schema
  let scratch: Scratch
  before(async () => {
    scratch = await Scratch.make()
  })
  after(() => scratch.remove())

  const valuesOf = async (content: string, options: Partial<FilesOptions> = {}) => {
    const path = await scratch.file('mixed.csv', content)
    return (await readWithCrashes(files({ paths: [path], fields, ...options }))).values
  }

  it('numbers, truth and times; nothing between two delimiters is no value, other columns are left out', async () => {
    const content = [
      'id,whole,small,share,yes,at,other',
      '1,17, 3 ,2.5e1,true,2026-01-01T00:00:00Z,x',
      '2,,,,,,',
      '3,-5,+2,-.5,NO,1767225600000,',
      '4,1.5,x,abc,maybe,yesterday,',
    ].join('\n')
    assert.deepEqual(await valuesOf(`${content}\n`), [
      { id: '1', whole: 17, small: 3, share: 25, yes: true, at: '2026-01-01T00:00:00Z' },
      { id: '2' },
      { id: '3', whole: -5, small: 2, share: -0.5, yes: false, at: 1_767_225_600_000 },
      // What cannot be cast stays text, which the contract refuses by its field.
      { id: '4', whole: '1.5', small: 'x', share: 'abc', yes: 'maybe', at: 'yesterday' },
    ])
  })

  it('with the delimiter by which the header names the fields, or the one that is told', async () => {
    assert.deepEqual(await valuesOf('id;share,of\n1;2\n'), [{ id: '1' }])
    assert.deepEqual(await valuesOf('id:whole\n1:2\n', { csvDelimiter: ':' }), [{ id: '1', whole: 2 }])
    assert.deepEqual(await valuesOf('"id"\t"whole"\n"1"\t"2"\n'), [{ id: '1', whole: 2 }])
  })
})

describe('typed files: what their types are to a contract', () => {
  const { fields } = contract(
    'Typed',
    {
      id: string(),
      whole: long(),
      amount: double(),
      day: timestamp(),
      at: timestamp(),
      yes: boolean(),
    },
    { id: ['id'], key: 'id', eventTime: 'at', disorder: '1h' },
  ).schema
  const DAY_MS = Date.UTC(2026, 0, 1)
  let scratch: Scratch
  before(async () => {
    scratch = await Scratch.make()
  })
  after(() => scratch.remove())

  it('Parquet: dates and times as epoch milliseconds, exact numbers as doubles, other columns left out', async () => {
    const path = join(scratch.path, 'we[i]rd*.parquet')
    await writeParquet(
      path,
      `select 'a' id, 17::bigint whole, 12.34::decimal(10,2) amount, date '2026-01-01' as day,
         timestamp '2026-01-01 00:00:00.000125' as at, true as yes, {'a': 1} other
       union all select 'b', 18::bigint, 0.01, date '2026-01-01', timestamp '2026-01-01', false, null`,
    )
    const { values } = await readWithCrashes(files({ paths: [path], fields }))
    assert.deepEqual(values, [
      { id: 'a', whole: 17, amount: 12.34, day: DAY_MS, at: DAY_MS + 0.125, yes: true },
      { id: 'b', whole: 18, amount: 0.01, day: DAY_MS, at: DAY_MS, yes: false },
    ])
  })

  it('Avro: logical types and unions likewise', async () => {
    const path = join(scratch.path, 'typed.avro')
    const schema = {
      type: 'record',
      name: 'Typed',
      fields: [
        { name: 'id', type: 'string' },
        { name: 'whole', type: ['null', 'long'] },
        { name: 'amount', type: { type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 } },
        { name: 'day', type: { type: 'int', logicalType: 'date' } },
        { name: 'at', type: ['null', { type: 'long', logicalType: 'timestamp-micros' }] },
        { name: 'yes', type: 'boolean' },
      ],
    }
    const row = {
      id: 'a',
      whole: 17,
      amount: Buffer.from([0xfb, 0x2e]),
      day: 20_454,
      at: DAY_MS * 1_000 + 125,
      yes: true,
    }
    await writeAvro(path, [row], { schema })
    const { values } = await readWithCrashes(files({ paths: [path], fields }))
    assert.deepEqual(values, [
      { id: 'a', whole: 17, amount: -12.34, day: DAY_MS, at: DAY_MS + 0.125, yes: true },
    ])
  })
})
