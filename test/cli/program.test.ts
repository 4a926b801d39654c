import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { millrace, type Said } from './support.ts'

describe('the command line', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-cli-'))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const run = (...args: string[]): Promise<Said> => millrace(args, { cwd })

  for (const [args, message] of [
    [
      ['run', 'orders', '--partitons', '4'],
      /^error BAD_USAGE: unknown option '--partitons' \(Did you mean --partitions\?\)/,
    ],
    [['rnu', 'orders'], /^error BAD_USAGE: unknown command 'rnu' \(Did you mean run\?\)/],
    [['run'], /^error BAD_USAGE: missing required argument 'pipeline'/],
    [['run', 'orders', 'clicks'], /^error BAD_USAGE: too many arguments/],
    [
      ['run', 'orderz'],
      /^error UNKNOWN_PIPELINE: there is no pipeline 'orderz'\.\n {2}Did you mean 'orders'\?/,
    ],
    [['describe', 'orderz'], /^error UNKNOWN_PIPELINE/],
    [
      ['run', 'orders', '--format', 'ndjsn', '--input', 'x'],
      /^error UNKNOWN_FORMAT: .*'ndjsn'\.\n {2}Did you mean 'ndjson'\?/,
    ],
    [['run', 'orders', '--format', 'ndjson'], /^error BAD_USAGE: --format ndjson .* name them with --input/],
    [['run', 'orders', '--partitions', 'many'], /^error BAD_SETTING: --partitions is "many"/],
    [['query', 'orders', 'todya'], /^error UNKNOWN_QUERY: .*\n {2}Did you mean 'today'\?.*--sql/],
    [['query', 'orders', 'today', '--sql', 'select 1'], /^error BAD_USAGE: Both the query 'today' and --sql/],
    [['query', 'orders', 'today', '--limit', '0'], /^error BAD_USAGE: --limit is "0"/],
  ] as const) {
    it(`used wrongly says so, suggests, and makes nothing: ${args.join(' ')}`, async () => {
      const { exitCode, stdout, stderr } = await run(...args)
      assert.equal(exitCode, 2, stderr)
      assert.match(stderr, message)
      assert.equal(stdout, '')
      assert.deepEqual(readdirSync(cwd), [])
    })
  }

  it('names an input that is not there before it makes anything', async () => {
    const { exitCode, stderr } = await run('run', 'orders', '--input', 'nowhere.ndjson')
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error FILE_MISSING: .*nowhere\.ndjson/)
    assert.deepEqual(readdirSync(cwd), [])
  })

  it('refuses Kafka without a Redis for the state, and makes nothing', async () => {
    for (const command of ['run', 'process']) {
      const { exitCode, stderr } = await millrace([command, 'orders'], {
        cwd,
        env: { KAFKA_BROKERS: 'broker:9092' },
      })
      assert.equal(exitCode, 2)
      assert.match(stderr, /^error BAD_SETTING: KAFKA_BROKERS is set.*REDIS_URL.*--embedded/)
      assert.deepEqual(readdirSync(cwd), [])
    }
  })

  it('refuses an address of Redis that is none, and keeps its password to itself', async () => {
    const { exitCode, stderr } = await millrace(['process', 'orders'], {
      cwd,
      env: { KAFKA_BROKERS: 'broker:9092', REDIS_URL: 'http://me:hush@redis' },
    })
    assert.equal(exitCode, 2)
    assert.match(stderr, /^error BAD_SETTING: .*REDIS_URL.*\n.*redis:\/\//)
    assert.doesNotMatch(stderr, /hush/)
  })

  it('refuses a log level that does not exist', async () => {
    const { exitCode, stderr } = await millrace(['run', 'orders'], {
      cwd,
      env: { MILLRACE_LOG_LEVEL: 'loud' },
    })
    assert.equal(exitCode, 2)
    assert.match(stderr, /^error BAD_SETTING: MILLRACE_LOG_LEVEL: .*'loud'.*trace, debug/)
  })

  it('explains itself', async () => {
    const help = await run('--help')
    assert.equal(help.exitCode, 0)
    for (const command of ['run', 'bridge', 'process', 'sink', 'describe', 'generate', 'query'])
      assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'))
    const version = await run('--version')
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  })

  it('describes a topology as text and as a diagram', async () => {
    const text = await run('describe', 'orders')
    assert.equal(text.exitCode, 0, text.stderr)
    assert.match(text.stdout, /Topology of orders, 4 partitions/)
    assert.match((await run('describe', 'orders', '--mermaid')).stdout, /^flowchart TD/)
    writeFileSync(join(cwd, 'millrace.json'), '{"partitions": 7}')
    assert.match((await run('describe', 'orders')).stdout, /7 partitions/)
  })

  it('lists the queries of a pipeline', async () => {
    const { exitCode, stdout } = await run('query', 'orders')
    assert.equal(exitCode, 0)
    assert.match(stdout, /^summary +\S/m)
  })

  it('says of a query before the first run that there is nothing yet', async () => {
    const { exitCode, stderr } = await run('query', 'orders', 'summary')
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error NO_WAREHOUSE: /)
    assert.deepEqual(readdirSync(cwd), [])
  })

  it('generates the same records for the same seed, and others for another', async () => {
    const ids = async (seed: string): Promise<string[]> => {
      const { exitCode, stdout, stderr } = await run(
        'generate',
        'orders',
        '--count',
        '20',
        '--bad-share',
        '0',
        '--seed',
        seed,
      )
      assert.equal(exitCode, 0, stderr)
      const records = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.equal(records.length, 20)
      return records.map(
        ({ order_id, customer_id, amount }) => `${String(order_id)} ${String(customer_id)} ${String(amount)}`,
      )
    }
    assert.deepEqual(await ids('3'), await ids('3'))
    assert.notDeepEqual(await ids('3'), await ids('4'))
  })

  it('generates into a file, and says when it cannot', async () => {
    const { exitCode } = await run('generate', 'orders', '--count', '5', '--out', 'five.ndjson')
    assert.equal(exitCode, 0)
    assert.deepEqual(readdirSync(cwd), ['five.ndjson'])
    const refused = await run('generate', 'orders', '--out', 'nowhere/five.ndjson')
    assert.equal(refused.exitCode, 1)
    assert.match(refused.stderr, /^error ENOENT: .*nowhere/)
  })

  describe("given a pipeline of one's own", () => {
    it('that is whole, takes it as it takes a shipped one', async () => {
      const shipped = join(import.meta.dirname, '..', '..', 'pipelines', 'orders', 'index.ts')
      writeFileSync(join(cwd, 'own.ts'), `export { default } from ${JSON.stringify(shipped)}`)
      const { exitCode, stdout } = await run('describe', './own.ts')
      assert.equal(exitCode, 0)
      assert.match(stdout, /Topology of orders/)
    })
  })
})
