import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { files, type FilesOptions } from '../../../bridge/files/files-input.ts'
import { contract } from '../../../schemas/contract.ts'
import { double, optional, string, timestamp } from '../../../schemas/schema.ts'
import { newLog, readDeadLetters, run, Scratch } from '../support.ts'
import { readWithCrashes, type Given } from './crashing-reader.ts'
import { csvOf, selectOf, writeAvro, writeParquet } from './written.ts'

const { fields } = contract(
  'Order',
  { order_id: string(), customer_id: string(), amount: double(), at: optional(timestamp()) },
  { id: ['order_id'], key: 'order_id', eventTime: 'at', disorder: '1h' },
).schema

const HEADER = 'order_id,customer_id,amount'

function rowsOf(count: number) {
  return Array.from({ length: count }, (_, id) => ({
    order_id: `o-${id}`,
    customer_id: 'c',
    amount: id,
    note: null,
  }))
}

interface Place {
  readonly reason: RegExp
  readonly field?: string
  readonly line: number
  readonly payload: string
}

describe('bad content in a file of any format: said with file, line and field, and nothing else lost', () => {
  let scratch: Scratch
  before(async () => {
    scratch = await Scratch.make()
  })
  after(() => scratch.remove())

  const read = async (path: string, options: Partial<FilesOptions> = {}): Promise<Given> =>
    readWithCrashes(files({ paths: [path], fields, ...options }))

  async function check(
    name: string,
    content: string | Buffer,
    good: readonly string[],
    bad: readonly Place[],
    options: Partial<FilesOptions> = {},
  ): Promise<Given> {
    // However it is cut into chunks.
    for (const chunkBytes of [7, 100, 1 << 16]) {
      const path = await scratch.file(name, content)
      const given = await read(path, { chunkBytes, ...options })
      assert.deepEqual(
        given.values.map((value) => (value as { order_id: string }).order_id),
        good,
      )
      assert.equal(given.refused.length, bad.length, JSON.stringify(given.refused))
      for (const [i, { reason, field, line, payload }] of bad.entries()) {
        const refused = given.refused[i]!
        assert.match(refused.reason, reason)
        assert.equal(refused.field, field ?? null)
        assert.equal(refused.origin.source, path)
        assert.equal(refused.origin.line, line)
        assert.equal(refused.origin.buffer.toString(), payload)
        assert.equal(refused.origin.position, Buffer.from(content as string).indexOf(payload))
      }
    }
    return read(join(scratch.path, name), options)
  }

  it('CSV: ragged rows, by their first column that is missing', async () => {
    await check(
      'ragged.csv',
      `${HEADER}\n1,c,1\n2,c\n3,c,3,4\n\n4,c,4\n`,
      ['1', '4'],
      [
        { reason: /^2 columns where the header has 3$/, field: 'amount', line: 3, payload: '2,c' },
        { reason: /^4 columns where the header has 3$/, line: 4, payload: '3,c,3,4' },
      ],
    )
  })

  it('CSV: rows behind one with newlines within quotes keep their line', async () => {
    await check(
      'lines.csv',
      `${HEADER}\n1,"a\n\nb",1\nbad\n2,c,2\n`,
      ['1', '2'],
      [{ reason: /^1 column where the header has 3$/, field: 'customer_id', line: 5, payload: 'bad' }],
    )
  })

  it('CSV: a quote that is not closed costs its own line, when the file ends or the bound is reached', async () => {
    const bad = [
      {
        reason: /column customer_id cannot be read: its quote is not closed/,
        field: 'customer_id',
        line: 3,
        payload: '2,"c,2',
      },
    ]
    await check('quote.csv', `${HEADER}\n1,c,1\n2,"c,2\n3,c,3\n4,c,4\n`, ['1', '3', '4'], bad)
    const many = Array.from({ length: 300 }, (_, i) => `${i + 3},c,1`)
    const content = `${HEADER}\n1,c,1\n2,"c,2\n${many.join('\n')}\n`
    const ids = ['1', ...many.map((line) => line.split(',')[0]!)]
    await check('far-quote.csv', content, ids, bad, { maxRecordBytes: 500 })
  })

  it('CSV: a quote within a value, and text behind a closing one', async () => {
    await check(
      'quotes.csv',
      `${HEADER}\n1,6" lamp,1\n2,"6" lamp,2\n3,x""y,3\n4,c,4\n`,
      ['4'],
      [
        { reason: /a quote stands within a value/, field: 'customer_id', line: 2, payload: '1,6" lamp,1' },
        {
          reason: /text stands behind its closing quote/,
          field: 'customer_id',
          line: 3,
          payload: '2,"6" lamp,2',
        },
        { reason: /a quote stands within a value/, field: 'customer_id', line: 4, payload: '3,x""y,3' },
      ],
    )
  })

  it('CSV: text that is not UTF-8', async () => {
    const content = Buffer.concat([
      Buffer.from(`${HEADER}\n1,c,1\n2,`),
      Buffer.from([0xe9]),
      Buffer.from(',2\n3,c,3\n'),
    ])
    const path = await scratch.file('latin1.csv', content)
    const { values, refused } = await read(path)
    assert.equal(values.length, 2)
    assert.deepEqual(
      refused.map(({ reason, origin }) => [reason, origin.line]),
      [['not valid UTF-8', 3]],
    )
  })

  it('CSV: a last row that has not all of its columns is left for when the file grows', async () => {
    const path = await scratch.file('short.csv', `${HEADER}\n1,c,1\n2,c`)
    const { values, notices } = await read(path)
    assert.equal(values.length, 1)
    assert.match(notices[0]!.message, /short\.csv: 3 bytes at the end/)
  })

  it('CSV: a header without what the contract requires is refused once for the file, before anything is written', async () => {
    const log = await newLog()
    const good = await scratch.file('good.csv', `${HEADER}\n1,c,1\n`)
    for (const [header, message] of [
      [
        'Order ID;customer_id',
        /bad\.csv lacks the columns 'order_id', 'amount', which the contract requires\. It has "Order ID", "customer_id"\./,
      ],
      [`${HEADER},amount`, /bad\.csv has the column 'amount' twice/],
    ] as const) {
      const bad = await scratch.file('bad.csv', `${header}\n1;2\n`)
      const input = files({ paths: [good, bad], fields })
      await assert.rejects(run({ log, input }), { code: 'FILE_HEADER', message })
    }
    assert.deepEqual(await readDeadLetters(log), [])
    await log.close()
  })

  it('JSON: broken elements, and text behind the end of the array', async () => {
    const content = `[\n{"order_id":"1"},\n{"order_id":2,},\n\n  {"order_id":"3"}\n,,{"order_id":"4"},] \n{"x":1}\nmore\n`
    await check(
      'broken.json',
      content,
      ['1', '3', '4'],
      [
        { reason: /^broken JSON: /, line: 3, payload: '{"order_id":2,}' },
        { reason: /^text behind the end of the JSON array$/, line: 7, payload: '{"x":1}\nmore\n' },
      ],
    )
  })

  it('JSON: an element beyond all bounds, and what stands behind it', async () => {
    const long = `{"order_id":"${'x'.repeat(3_000)}"}`
    await check(
      'long.json',
      `[{"order_id":"1"},\n${long},{"order_id":"2"}]`,
      ['1', '2'],
      [{ reason: /^record too large \(3015 bytes, limit 1000\)$/, line: 2, payload: long }],
      { maxRecordBytes: 1_000 },
    )
    const path = await scratch.file('huge.json', `[{"order_id":"1"},${long},{"order_id":"2"}]`)
    const { values, refused } = await read(path, {
      maxRecordBytes: 500,
      maxPayloadBytes: 600,
      chunkBytes: 64,
    })
    assert.equal(values.length, 2)
    assert.match(refused[0]!.reason, /keeps its first \d+ bytes/)
  })

  it('JSON: an array that is cut off gives its whole elements, and the rest when it is there', async () => {
    const path = await scratch.file('cut.json', '[{"order_id":"1"},{"order_id":"2"},{"order')
    const { values, notices } = await read(path)
    assert.equal(values.length, 2)
    assert.match(notices[0]!.message, /7 bytes at the end/)
  })

  it('JSON: what is no JSON at all is refused before anything is written', async () => {
    const path = await scratch.file('not.json', 'order_id,amount\n')
    await assert.rejects(files({ paths: [path] }).prepare(), {
      code: 'FILE_FORMAT',
      message: /begins with "o"/,
    })
  })

  it('Avro: a cut file gives its whole blocks, and reads on when the rest is there', async () => {
    const path = join(scratch.path, 'cut.avro')
    await writeAvro(path, rowsOf(1_000), { blockSize: 1_000 })
    const whole = await readFile(path)
    await writeFile(path, whole.subarray(0, whole.length - 500))
    const log = await newLog()
    const notices: { code: string; message: string }[] = []
    const input = files({ paths: [path] })
    const before = await run({ log, input, notices: notices as never })
    assert.match(notices[0]!.message, /cut\.avro: \d+ bytes at the end/)
    await writeFile(path, whole)
    const after = await run({ log, input })
    assert.ok(before.sources[0]!.processed > 0)
    assert.equal(before.sources[0]!.processed + after.sources[0]!.processed, 1_000)
    await log.close()
  })

  it('Avro: a damaged block is a dead letter, a lost marker the end', async () => {
    const path = join(scratch.path, 'damaged.avro')
    await writeAvro(path, rowsOf(100), { codec: 'snappy', blockSize: 400 })
    const whole = await readFile(path)
    const sync = whole.subarray(-16)
    const second = whole.indexOf(sync, whole.indexOf(sync, whole.indexOf(sync) + 16) + 16)
    const damaged = Buffer.from(whole)
    damaged[second - 30]! ^= 0xff
    await writeFile(path, damaged)
    const { values, refused } = await read(path)
    assert.equal(refused.length, 1)
    assert.match(
      refused[0]!.reason,
      /^record 1 of (\d+) in its block, and those behind it, cannot be decoded: /,
    )
    const lost = Number(/of (\d+) in/.exec(refused[0]!.reason)![1])
    assert.equal(values.length, 100 - lost)
    assert.equal(
      (values[refused[0]!.origin.line! - 2] as { order_id: string }).order_id,
      `o-${refused[0]!.origin.line! - 2}`,
    )

    damaged[second]! ^= 0xff
    await writeFile(path, damaged)
    const cut = await read(path)
    assert.ok(cut.values.length > 0 && cut.values.length < values.length)
    assert.deepEqual(
      cut.notices.map(({ code }) => code),
      ['FILE_DAMAGED'],
    )
    assert.match(cut.notices[0]!.message, /does not end with the file's sync marker/)
  })

  it('Avro: no header, an unknown codec, a schema without the columns', async () => {
    const none = await scratch.file('none.avro', 'order_id,amount\n1,2\n')
    await assert.rejects(read(none), {
      code: 'FILE_FORMAT',
      message: /none\.avro .* does not begin with Obj1/,
    })
    const other = join(scratch.path, 'other.avro')
    const schema = { type: 'record', name: 'Other', fields: [{ name: 'order_id', type: 'string' }] }
    await writeAvro(other, [{ order_id: 'x' }], { schema })
    await assert.rejects(read(other), {
      code: 'FILE_HEADER',
      message: /lacks the columns 'customer_id', 'amount'/,
    })
    const bytes = await readFile(other)
    const at = bytes.indexOf('null')
    bytes.write('zstd', at)
    await writeFile(other, bytes)
    await assert.rejects(read(other), {
      code: 'FILE_FORMAT',
      message: /codec is 'zstd', and only null, deflate, snappy/,
    })
  })

  it('Parquet: a bad row has its number, and its values as JSON', async () => {
    const path = join(scratch.path, 'bad.parquet')
    await writeParquet(
      path,
      `select 'o-' || i order_id, case when i = 2000 then null else 'c' end customer_id, i::double amount from range(3000) t(i)`,
    )
    const log = await newLog({ partitions: 1 })
    const summary = await run({ log, input: files({ paths: [path], fields }) })
    assert.equal(summary.sources[0]!.processed, 2_999)
    const [letter] = await readDeadLetters(log)
    assert.deepEqual(
      [letter!.reason, letter!.field, letter!.source, letter!.position, letter!.line],
      ['missing customer_id', 'customer_id', path, 2_000, 2_001],
    )
    assert.deepEqual(JSON.parse(Buffer.from(letter!.payload).toString()), {
      order_id: 'o-2000',
      customer_id: null,
      amount: 2_000,
    })
    await log.close()
  })

  it('Parquet: a cut file, one without the columns, and one that is none, are refused before anything is written', async () => {
    const path = join(scratch.path, 'cut.parquet')
    await writeParquet(path, selectOf(rowsOf(100)))
    const whole = await readFile(path)
    await writeFile(path, whole.subarray(0, whole.length - 20))
    await assert.rejects(files({ paths: [path] }).prepare(), {
      code: 'FILE_FORMAT',
      message: /cut\.parquet cannot be read as Parquet \(.*No magic bytes/,
    })
    await writeParquet(path, 'select 1 as order_id')
    await assert.rejects(files({ paths: [path], fields }).prepare(), {
      code: 'FILE_HEADER',
      message: /cut\.parquet lacks the columns 'customer_id', 'amount'/,
    })
  })

  it('Parquet: damage in the middle ends it there, and is said', async () => {
    const path = join(scratch.path, 'damaged.parquet')
    await writeParquet(
      path,
      `select 'o-' || i order_id, md5(i::varchar) customer_id, i::double amount from range(100000) t(i)`,
      ', row_group_size 8192',
    )
    const bytes = await readFile(path)
    bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 2_000)
    await writeFile(path, bytes)
    const { values, notices } = await read(path)
    assert.ok(values.length > 0 && values.length < 100_000)
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['FILE_DAMAGED'],
    )
  })

  it('Parquet: one that has changed is refused, grown or not', async () => {
    const path = join(scratch.path, 'changed.parquet')
    await writeParquet(path, selectOf(rowsOf(10)))
    const log = await newLog()
    const input = files({ paths: [path] })
    await run({ log, input })
    const whole = await readFile(path)
    await writeFile(path, Buffer.concat([whole, whole]))
    await assert.rejects(run({ log, input }), {
      code: 'FILE_CHANGED',
      message: /give the new content under another path/,
    })
    await writeParquet(path, selectOf(rowsOf(11)))
    await assert.rejects(run({ log, input }), { code: /FILE_CHANGED|FILE_TRUNCATED/ as never })
    await log.close()
  })

  it('a cut gzip of CSV and JSON gives what decompresses', async () => {
    const rows = Array.from({ length: 3_000 }, (_, id) => ({
      order_id: `o-${id}`,
      customer_id: String((id * 7919) % 3001),
      amount: id,
      note: null,
    }))
    for (const [name, text] of [
      ['cut.csv.gz', csvOf(rows)],
      ['cut.json.gz', JSON.stringify(rows)],
    ] as const) {
      const bytes = gzipSync(text)
      const path = await scratch.file(name, bytes.subarray(0, bytes.length >> 1))
      const { values, notices } = await read(path)
      assert.ok(values.length > 1_000 && values.length < 3_000, String(values.length))
      assert.deepEqual(
        notices.map(({ code }) => code),
        ['FILE_DAMAGED'],
      )
    }
  })

  it('an empty file of any format is empty', async () => {
    for (const name of ['e.ndjson', 'e.json', 'e.csv', 'e.avro', 'e.parquet', 'e.csv.gz']) {
      const path = await scratch.file(name, name.endsWith('.gz') ? gzipSync('') : '')
      assert.deepEqual(await read(path), { values: [], refused: [], notices: [] }, name)
    }
  })

  it('what is no regular file is refused by name', async () => {
    const path = join(scratch.path, 'fifo.csv')
    execFileSync('mkfifo', [path])
    await assert.rejects(read(path), { code: 'FILE_UNREADABLE', message: /fifo\.csv is not a regular file/ })
    await assert.rejects(read('/dev/null'), { code: 'FILE_UNREADABLE', message: /not a regular file/ })
  })
})
