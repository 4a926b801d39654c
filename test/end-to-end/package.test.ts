import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { rowsOf } from './support.ts'

const ROOT = join(import.meta.dirname, '..', '..')
/** With npm's registry, or its cache of it. */
const INSTALL_TIMEOUT_MS = 600_000

interface Said {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command as a user types it, on the Node that runs this test, without what npm tells the tests. */
function command(cwd: string, name: string, ...args: readonly string[]): Said {
  const env = Object.entries(process.env).filter(([key]) => !/^(npm_|MILLRACE_|KAFKA_|NODE_)/i.test(key))
  const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter)
  const { status, stdout, stderr, error } = spawnSync(name, args, {
    cwd,
    env: { ...Object.fromEntries(env), PATH, npm_config_prefer_offline: 'true' },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  if (error !== undefined) throw error
  return { exitCode: status, stdout, stderr }
}

function well(cwd: string, name: string, ...args: readonly string[]): string {
  const { exitCode, stdout, stderr } = command(cwd, name, ...args)
  assert.equal(exitCode, 0, `${name} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

const HOURS = `select country, hour(window_start), orders, revenue from shop.hourly order by 2, 1 nulls last`

const page = (): string => readFileSync(join(ROOT, 'docs', 'own-pipeline.md'), 'utf8')

interface Step {
  readonly line: string
  readonly shows: string
}

/** The commands of the page in its order, each with what it is said to print. */
function transcript(): Step[] {
  const blocks = page()
    .split(/\n(?! {4}|\n {4})/)
    .filter((block) => block.includes('\n    $ ') || block.startsWith('    $ '))
  return blocks.flatMap((block) =>
    block
      .split(/^ {4}\$ /m)
      .slice(1)
      .map((step) => {
        const [line = '', ...shows] = step.split('\n')
        return { line, shows: shows.map((text) => text.slice(4)).join('\n') }
      }),
  )
}

/** Lines without what differs from run to run. */
function comparable(text: string): string[] {
  return text.split('\n').map((line) => line.trimEnd().replace(/\d+\.\d s\b|\d+ms\b/, 'a moment'))
}

describe('the package, installed outside of the repository', function () {
  this.timeout(INSTALL_TIMEOUT_MS)
  let scratch: string
  let folder: string
  let packed: readonly string[]

  before(() => {
    scratch = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-package-')))
    const checkout = join(scratch, 'millrace')
    mkdirSync(checkout)
    well(ROOT, 'npm', 'pack', '--silent', '--pack-destination', checkout)
    const [archive] = readdirSync(checkout)
    packed = well(checkout, 'tar', '-tzf', archive!)
      .trim()
      .split('\n')
      .map((path) => path.replace('package/', ''))
    folder = join(scratch, 'work')
    mkdirSync(folder)
    well(folder, 'bash', '-c', transcript()[0]!.line)
  })
  after(() => rmSync(scratch, { recursive: true, force: true }))

  it('has what is read at run time, and nothing of the tests', () => {
    for (const asset of globSync('{processor,log,bridge,sinks}/**/*.lua', { cwd: ROOT }))
      assert.ok(packed.includes(`dist/${asset}`), asset)
    for (const asset of globSync('schemas/avsc/*', { cwd: ROOT })) assert.ok(packed.includes(`dist/${asset}`))
    assert.deepEqual(
      packed.filter(
        (path) => !/^(dist|templates|cli\/millrace\.js$|package\.json$|README|LICENSE)/.test(path),
      ),
      [],
    )
    assert.deepEqual(
      packed.filter((path) => /^dist\/(test|bench|deploy|templates)\//.test(path)),
      [],
    )
  })

  it('is what the page has: pipeline and test', () => {
    for (const file of ['pipeline.ts', 'test/pipeline.test.ts', 'millrace.json']) {
      const text = readFileSync(join(ROOT, 'templates', 'pipeline', file), 'utf8')
      assert.ok(page().includes(`\`\`\`${file.endsWith('.ts') ? 'ts' : 'json'}\n${text}\`\`\``), file)
    }
  })

  it('runs thirty lines of TypeScript, with rows in DuckDB', async () => {
    const template = join(ROOT, 'templates', 'pipeline')
    copyFileSync(join(template, 'pipeline.ts'), join(folder, 'my-pipeline.ts'))
    copyFileSync(join(template, 'orders.ndjson'), join(folder, 'orders.ndjson'))
    const data = join(folder, 'data')
    const args = ['--input', 'orders.ndjson', '--exit-when-done', '--data-dir', data]
    const stdout = well(folder, 'npx', 'millrace', 'run', './my-pipeline.ts', ...args)
    assert.match(stdout, /12 records read, 1 of them invalid/)
    assert.deepEqual(await rowsOf(data, 'select count(*), sum(amount) from shop.orders'), [[10n, 307.2]])
    assert.deepEqual(await rowsOf(data, 'select field from dead_letters'), [['amount']])
  })

  it("runs the page's generator beside it", async () => {
    const [, generator] = /```ts\n(import type \{ RecordMaker \}.*?)```/s.exec(page()) ?? []
    appendFileSync(join(folder, 'my-pipeline.ts'), generator!)
    const args = ['--count', '60', '--bad-share', '0.5', '--exit-when-done', '--data-dir', 'made']
    assert.match(well(folder, 'npx', 'millrace', 'run', './my-pipeline.ts', ...args), /60 records read/)
    const rows = await rowsOf(
      join(folder, 'made'),
      'select (select count(*) from shop.orders) > 10, (select count(*) from dead_letters) > 10',
    )
    assert.deepEqual(rows, [[true, true]])
  })

  it('runs the shipped pipeline by its name', () => {
    const args = ['--count', '200', '--exit-when-done', '--data-dir', 'orders-data']
    assert.match(well(folder, 'npx', 'millrace', 'run', 'orders', ...args), /200 records read/)
  })

  it('keeps its young generation small', () => {
    writeFileSync(join(folder, 'flags.mts'), 'throw new Error(process.execArgv.join())')
    const { exitCode, stderr } = command(folder, 'npx', 'millrace', 'describe', './flags.mts')
    assert.equal(exitCode, 1)
    assert.match(
      stderr,
      /^error PIPELINE_NOT_LOADED: Error: --max-semi-space-size=8\.\n {2}at \.\/flags\.mts:1:7$/m,
    )
  })

  describe('by the quick start of docs/own-pipeline.md, word for word,', () => {
    let shop: string
    before(() => {
      shop = join(folder, 'shop')
    })

    it('gives what the page shows', () => {
      let at = folder
      for (const { line, shows } of transcript()) {
        if (line === 'cd shop') {
          at = shop
          continue
        }
        const { exitCode, stdout, stderr } = command(at, 'bash', '-c', line)
        const expected = line.includes('pipelin.ts') ? 1 : 0
        assert.equal(exitCode, expected, `${line}\n${stdout}${stderr}`)
        const said = comparable(stdout + stderr)
        for (const expected of comparable(shows).filter((text) => text !== '' && text !== '…'))
          assert.ok(said.includes(expected), `${line}\nlacks: ${expected}\nhas:\n${said.join('\n')}`)
      }
    })

    it('leaves rows in DuckDB', async () => {
      assert.deepEqual(await rowsOf(join(shop, 'millrace-data'), HOURS), [
        ['France', 8n, 2n, 32.5],
        ['Germany', 8n, 2n, 107.15],
        ['Spain', 8n, 1n, 18],
        [null, 8n, 1n, 41.1],
        ['France', 9n, 2n, 74.7],
        ['Germany', 9n, 1n, 5],
        ['Spain', 9n, 1n, 28.75],
      ])
    })

    it('passes its test, and fails it when the pipeline is another', () => {
      assert.match(well(shop, 'npm', 'test'), /1 passing/)
      const file = join(shop, 'pipeline.ts')
      const pipeline = readFileSync(file, 'utf8')
      writeFileSync(file, pipeline.replace('sum((o) => o.amount)', 'sum((o) => 2 * o.amount)'))
      const { exitCode, stdout } = command(shop, 'npm', 'test')
      writeFileSync(file, pipeline)
      assert.notEqual(exitCode, 0)
      assert.match(stdout, /\+ +65|- +32\.5/)
    })

    it('compiles, and does not with a field that the contract does not have', () => {
      well(shop, 'npx', 'tsc', '--noEmit')
      // With the package's own declarations looked through.
      well(shop, 'npx', 'tsc', '--noEmit', '--skipLibCheck', 'false')
      const file = join(shop, 'pipeline.ts')
      const pipeline = readFileSync(file, 'utf8')
      writeFileSync(file, pipeline.replace('sum((o) => o.amount)', 'sum((o) => o.amout)'))
      const { exitCode, stdout } = command(shop, 'npx', 'tsc', '--noEmit')
      writeFileSync(file, pipeline)
      assert.notEqual(exitCode, 0)
      assert.match(stdout, /pipeline\.ts\(\d+,\d+\): error TS2551: .*'amout'.*'amount'/)
    })

    it('is understood by another copy of the command too', () => {
      const bin = join(folder, 'node_modules', '.bin', 'millrace')
      assert.match(well(shop, bin, 'describe', './pipeline.ts'), /Topology of shop/)
    })
  })
})
