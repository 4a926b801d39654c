import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { systemClock } from '../../config/clock.ts'
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts'
import { millrace, type Said } from './support.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const BIN = join(ROOT, 'cli', 'millrace.js')

const PACKAGE = JSON.stringify(pathToFileURL(join(ROOT, 'index.ts')).href)

/** Web and shop orders as one stream. */
const PIPELINE = `
import { contract, count, definePipeline, double, source, string, sum, table, timestamp, tumbling } from ${PACKAGE}
const fields = { id: string(), amount: double({ cast: 'text' }), at: timestamp() }
const options = { id: ['id'], key: 'id', eventTime: 'at', disorder: '1m' }
const web = contract('WebOrder', fields, options)
const shop = contract('ShopOrder', fields, options)
export default definePipeline({
  name: 'shops',
  sources: { web: source('web', web), shop: source('shop', shop) },
  build(streams) {
    const all = streams.web.merge('all', streams.shop)
    all.to(table('shops.orders'))
    all.window(tumbling('1h', { grace: '1m' }))
      .aggregate('hourly', { orders: count(), revenue: sum((o) => o.amount) })
      .to(table('shops.hourly'))
  },
})
export const generators = {
  shop: {
    record: (random, i, at) => JSON.stringify({ id: 'made-up-' + i, amount: 1, at }),
    badRecord: (random, i, at) => JSON.stringify({ id: 'bad-' + i, at }),
  },
}
`

const WEB = [
  '{"id":"w-1","amount":10,"at":"2026-01-01T00:05:00Z"}',
  '{"id":"w-2","amount":"x","at":"2026-01-01T00:06:00Z"}',
  '{"id":"w-3","amount":5,"at":"2026-01-01T01:30:00Z"}',
]
const SHOP = ['id;amount;at', 's-1;2.5;2026-01-01T00:50:00Z', 's-2;4;2026-01-01T01:10:00Z']

describe('a pipeline of several sources', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-several-'))
    writeFileSync(join(cwd, 'shops.mts'), PIPELINE)
    file('web.ndjson', WEB)
    file('shop.csv', SHOP)
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  function file(name: string, lines: readonly string[]): void {
    writeFileSync(join(cwd, name), lines.map((line) => `${line}\n`).join(''))
  }
  const web = (): string => `web=${join(cwd, 'web.ndjson')}`
  const shop = (): string => `shop=${join(cwd, 'shop.csv')}`
  const role = (name: string, ...args: string[]): Promise<Said> =>
    millrace([name, './shops.mts', '--data-dir', join(cwd, 'data'), '--exit-when-done', ...args], { cwd })
  const run = (...args: string[]): Promise<Said> => role('run', ...args)
  async function query(sql: string): Promise<unknown[]> {
    const { stdout, stderr, exitCode } = await millrace(
      ['query', './shops.mts', '--sql', sql, '--json', '--data-dir', join(cwd, 'data')],
      { cwd },
    )
    assert.equal(exitCode, 0, stderr)
    return stdout.split('\n').flatMap((line): unknown[] => (line === '' ? [] : [JSON.parse(line)]))
  }

  async function assertRows(): Promise<void> {
    assert.deepEqual(await query('select id, amount from shops.orders order by id'), [
      { id: 's-1', amount: 2.5 },
      { id: 's-2', amount: 4 },
      { id: 'w-1', amount: 10 },
      { id: 'w-3', amount: 5 },
    ])
    assert.deepEqual(await query('select window_start, orders, revenue from shops.hourly order by all'), [
      { window_start: '2026-01-01T00:00:00Z', orders: 2, revenue: 12.5 },
      { window_start: '2026-01-01T01:00:00Z', orders: 2, revenue: 9 },
    ])
    assert.deepEqual(await query('select source, line, field from dead_letters'), [
      { source: join(cwd, 'web.ndjson'), line: 2, field: 'amount' },
    ])
  }

  it('reads each from a file of its own, and meets in the tables', async () => {
    const { exitCode, stdout, stderr } = await run('--input', web(), shop())
    assert.equal(exitCode, 0, stderr)
    assert.match(stdout, /source web from \S*web\.ndjson \(ndjson\), shop from \S*shop\.csv \(csv\)/)
    assert.match(stdout, /: 5 records read, 1 of them invalid\.$/m)
    await assertRows()
    const again = await run('--input', shop(), '--input', web())
    assert.match(again.stdout, /: 0 records read/)
    await assertRows()
  })

  it('does so in roles of their own', async () => {
    for (const said of [
      await role('bridge', '--input', web(), '--input', shop()),
      await role('process'),
      await role('sink'),
    ]) {
      assert.equal(said.exitCode, 0, said.stderr)
    }
    await assertRows()
  })

  it('takes the list from millrace.json or the environment too', async () => {
    const settings = {
      input: { web: [join(cwd, 'web.ndjson')], shop: join(cwd, 'shop.csv') },
      format: { shop: 'csv' },
    }
    writeFileSync(join(cwd, 'millrace.json'), JSON.stringify(settings))
    assert.equal((await run()).exitCode, 0)
    await assertRows()
    const env = { MILLRACE_INPUT: [web(), shop()].join(delimiter), MILLRACE_FORMAT: 'web=ndjson,shop=csv' }
    const again = await millrace(
      ['run', './shops.mts', '--data-dir', join(cwd, 'more'), '--exit-when-done'],
      {
        cwd,
        env,
      },
    )
    assert.match(again.stdout, /: 5 records read/, again.stderr)
  })

  it('reads each in its own format, and what has none in the plain one', async () => {
    file('web.txt', WEB)
    file('shop.txt', SHOP)
    const inputs = ['--input', `web=${join(cwd, 'web.txt')}`, `shop=${join(cwd, 'shop.txt')}`]
    const { exitCode, stderr } = await run(...inputs, '--format', 'ndjson', '--format', 'shop=csv')
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(await query('select count(*) n from shops.orders'), [{ n: 4 }])
  })

  it('takes several files, directories and patterns of each, with = in their names', async () => {
    mkdirSync(join(cwd, 'day=1'))
    file('day=1/web=a.ndjson', WEB.slice(0, 2))
    file('day=1/web=b.ndjson', WEB.slice(2))
    const { exitCode, stderr } = await run(
      '--input',
      `web=${join(cwd, 'day=1', 'web=?.ndjson')}`,
      `web=${join(cwd, 'day=1')}`,
      shop(),
    )
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(await query('select count(*) n from shops.orders'), [{ n: 4 }])
  })

  it('has standard input for one of them', async () => {
    const args = ['run', './shops.mts', '--input', 'web=-', shop(), '--data-dir', 'data', '--exit-when-done']
    const child = spawn(process.execPath, [BIN, ...args], { cwd, stdio: ['pipe', 'ignore', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
    child.stdin.end(WEB.map((line) => `${line}\n`).join(''))
    const [exitCode] = (await once(child, 'close')) as [number]
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(await query('select count(*) n from shops.orders'), [{ n: 4 }])
  })

  it('has made-up records for one of them if it is asked for by name', async () => {
    const made = ['--count', '20', '--bad-share', '0']
    const { exitCode, stdout, stderr } = await run('--input', web(), 'shop=generator', ...made)
    assert.equal(exitCode, 0, stderr)
    assert.match(stdout, /shop from generator \(500 a minute, seed 1, 20 records\)/)
    assert.deepEqual(await query('select count(*) n from shops.orders'), [{ n: 22 }])
  })

  for (const [what, args, message] of [
    [
      'a file of nobody knows which source',
      ['--input', 'web.ndjson'],
      /^error BAD_USAGE: --input web\.ndjson: pipeline 'shops' has several sources, and nothing says which one it is for\.\n {2}Write --input web=web\.ndjson or --input shop=web\.ndjson\./,
    ],
    [
      'a file behind that of a source',
      ['--input', 'shop=shop.csv', 'web.ndjson'],
      /^error BAD_USAGE: --input web\.ndjson: .*\n {2}Write --input web=web\.ndjson or/,
    ],
    [
      'a source that there is not',
      ['--input', 'web=web.ndjson', 'shopp=shop.csv'],
      /^error BAD_USAGE: --input shopp=shop\.csv: there is no source 'shopp'\.\n {2}Did you mean 'shop'\? \(There are: 'web', 'shop'\.\) A path that begins like that is written \.\/shopp=shop\.csv/,
    ],
    [
      'a format of a source that there is not',
      ['--input', 'web=web.ndjson', 'shop=shop.csv', '--format', 'sop=csv'],
      /^error BAD_USAGE: --format sop=csv: there is no source 'sop'\.\n {2}Did you mean 'shop'\?/,
    ],
    [
      'a format that there is not',
      ['--input', 'web=web.ndjson', 'shop=shop.csv', '--format', 'shop=ndjsn'],
      /^error UNKNOWN_FORMAT: there is no format 'ndjsn'\.\n {2}Did you mean 'ndjson'\?/,
    ],
    [
      'two formats of the same files',
      ['--input', 'web=web.ndjson', 'shop=shop.csv', '--format', 'ndjson,csv'],
      /^error BAD_USAGE: --format says ndjson and csv of the same files\.\n.*SOURCE=FORMAT/,
    ],
    [
      'a format of records that are made up',
      ['--input', 'web=web.ndjson', 'shop=generator', '--format', 'shop=csv'],
      /^error BAD_USAGE: --format shop=csv says how files are written: name them with --input/,
    ],
    [
      'one source without input, which can be made up',
      ['--input', 'web=web.ndjson'],
      /^error BAD_USAGE: source 'shop' of pipeline 'shops' has no input, while others have\.\n {2}Add --input shop=FILE, or --input shop=generator for made-up records\./,
    ],
    [
      'one source without input, which cannot',
      ['--input', 'shop=shop.csv'],
      /^error BAD_USAGE: source 'web' of pipeline 'shops' has no input, while others have\.\n {2}Add --input web=FILE\.$/m,
    ],
    [
      'no input where a source has no generator',
      [],
      /^error BAD_USAGE: pipeline 'shops' has no generator for 'web': give files with --input web=FILE/,
    ],
    ['no file', ['--input', 'web=', 'shop=shop.csv'], /^error BAD_USAGE: --input web= names no file/],
    [
      'standard input twice',
      ['--input', 'web=-', 'shop=-'],
      /^error BAD_USAGE: --input gives standard input to 'web' and 'shop': one source can have it/,
    ],
    [
      'a file beside standard input',
      ['--input', 'web=-', 'web=web.ndjson', 'shop=shop.csv'],
      /^error BAD_USAGE: --input - is standard input, and nothing can stand beside it/,
    ],
    [
      'a file beside the generator',
      ['--input', 'shop=generator', 'shop=shop.csv', 'web=web.ndjson'],
      /^error BAD_USAGE: --input generator is the generator \(a file of that name is \.\/generator\), and/,
    ],
  ] as const) {
    it(`used wrongly says so, and makes nothing: ${what}`, async () => {
      const before = readdirSync(cwd)
      const { exitCode, stdout, stderr } = await run(...args)
      assert.equal(exitCode, 2, stderr)
      assert.match(stderr, message)
      assert.equal(stdout, '')
      assert.deepEqual(readdirSync(cwd), before)
    })
  }

  it('has its generators asked one by one', async () => {
    const generate = (...args: string[]): Promise<Said> =>
      millrace(['generate', './shops.mts', '--count', '1', '--bad-share', '0', ...args], { cwd })
    assert.match((await generate()).stdout, /^\{"id":"made-up-0"/)
    assert.match((await generate('--source', 'shop')).stdout, /^\{"id":"made-up-0"/)
    const none = await generate('--source', 'web')
    assert.equal(none.exitCode, 2)
    assert.match(
      none.stderr,
      /^error BAD_USAGE: --source web: .* has no generator of that name\.\n {2}There are: 'shop'/,
    )
    writeFileSync(
      join(cwd, 'both.mts'),
      `import shops, { generators as own } from './shops.mts'\nexport default shops\n` +
        `export const generators = { web: own.shop, shop: own.shop }\n`,
    )
    const both = await millrace(['generate', './both.mts'], { cwd })
    assert.equal(both.exitCode, 2)
    assert.match(both.stderr, /has several generators\.\n {2}Say which: --source web or --source shop\./)
  })

  it('names the file of either that is not there, before it makes anything', async () => {
    const { exitCode, stderr } = await run('--input', web(), 'shop=nowhere.csv')
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error FILE_MISSING: .*nowhere\.csv does not exist/)
    assert.deepEqual(readdirSync(cwd).sort(), ['shop.csv', 'shops.mts', 'web.ndjson'])
  })
})

const FOREIGN = `
import { contract, definePipeline, double, source, string, table, timestamp } from ${PACKAGE}
const options = { id: ['id'], key: 'id', eventTime: 'at', disorder: '1m' }
const web = contract('WebOrder', { id: string(), amount: double(), at: timestamp() }, options)
const paid = contract('Payment', { id: string(), at: timestamp() }, options)
export default definePipeline({
  name: 'payments',
  sources: { web: source('web', web), paid: source('paid', paid, { topic: 'others.paid' }) },
  build(streams) {
    streams.web.to(table('payments.orders'))
    streams.paid.to(table('payments.paid'))
  },
})
`

describe('a source whose topic others write', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-others-'))
    writeFileSync(join(cwd, 'own.mts'), FOREIGN)
    writeFileSync(
      join(cwd, 'none.mts'),
      FOREIGN.replace("web: source('web', web), ", '').replace(/^.*streams\.web.*$/m, ''),
    )
    writeFileSync(join(cwd, 'web.ndjson'), '{"id":"w-1","amount":1,"at":"2026-01-01T00:00:00Z"}\n')
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const run = (command: string, file: string, ...args: string[]): Promise<Said> =>
    millrace([command, file, '--data-dir', join(cwd, 'data'), ...args], { cwd })

  it('takes no input, and nothing is bridged into its topic', async () => {
    const input = ['--exit-when-done', '--partitions', '1', '--input', join(cwd, 'web.ndjson')]
    // The first makes the directory, in which others then have their topic.
    assert.match((await run('run', './own.mts', ...input)).stderr, /others\.paid/)
    const directory = join(cwd, 'data', 'log')
    const log = await openEmbeddedLog({ directory, clock: systemClock, cacheBytes: 0 })
    await log.admin.createTopics([{ name: 'others.paid', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    await log.close()
    const { exitCode, stdout, stderr } = await run('run', './own.mts', ...input)
    assert.equal(exitCode, 0, stderr)
    assert.match(stdout, /; source web from \S*web\.ndjson \(ndjson\); sinks/)
    assert.match(stdout, /^payments\.orders +1$/m)
    const look = await openEmbeddedLog({ directory, clock: systemClock, cacheBytes: 0, readOnly: true })
    const [range] = await look.admin.offsets([{ topic: 'others.paid', partition: 0 }])
    await look.close()
    assert.equal(range!.end, 0)
  })

  for (const [file, args, message] of [
    [
      './own.mts',
      ['--input', 'paid=x.ndjson'],
      /^error BAD_USAGE: --input paid=x\.ndjson: source 'paid' reads the topic 'others\.paid', which others write/,
    ],
    [
      './none.mts',
      ['--input', 'web.ndjson'],
      /^error BAD_USAGE: --input web\.ndjson: pipeline 'payments' only reads topics that others write \(oth/,
    ],
    [
      './none.mts',
      [],
      /^error BAD_USAGE: pipeline 'payments' has nothing to bridge: others write the topics/,
    ],
  ] as const) {
    it(`is not to be bridged: ${file} ${args.join(' ')}`, async () => {
      const { exitCode, stderr } = await run('bridge', file, ...args)
      assert.equal(exitCode, 2, stderr)
      assert.match(stderr, message)
    })
  }
})

describe('a pipeline of one source', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-one-'))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const ORDER = '{"order_id":"a","customer_id":"x","amount":10,"timestamp":"2026-01-01T00:00:00Z"}\n'
  const run = (...args: string[]): Promise<Said> =>
    millrace(['run', 'orders', '--data-dir', join(cwd, 'data'), '--exit-when-done', '--input', ...args], {
      cwd,
    })

  it('may be named, and its files may have = in their names', async () => {
    mkdirSync(join(cwd, 'year=2026'))
    const path = join(cwd, 'year=2026', 'orders=1.ndjson')
    writeFileSync(path, ORDER)
    assert.match((await run(path)).stdout, /: 1 record read/)
    assert.match((await run(`orders=${path}`)).stdout, /: 0 records read/)
  })

  it('says what a misspelt name was meant to be', async () => {
    const { exitCode, stderr } = await run('ordres=day.ndjson')
    assert.equal(exitCode, 2)
    assert.match(stderr, /^error BAD_USAGE: .*there is no source 'ordres'\.\n {2}Did you mean 'orders'\?/)
  })

  it('takes what is like no name for the file that it is not', async () => {
    const { exitCode, stderr } = await run('year=2026.ndjson')
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error FILE_MISSING: .*year=2026\.ndjson does not exist/)
  })
})
