import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { optional, schema, string, timestamp, bytes, double, long, boolean } from '../../../schemas/schema.ts'
import { queryWarehouse } from '../../../sinks/local/query-client.ts'
import { findSocket } from '../../../sinks/local/query-socket.ts'
import type { SinkRunner } from '../../../sinks/runner.ts'
import { openWarehouse, type Warehouse } from '../../../sinks/local/warehouse.ts'
import { SinkBench, tableOf } from '../support.ts'
import { removeDirectory, temporaryDirectory } from './support.ts'

const thing = schema('Thing', {
  id: long(),
  name: optional(string()),
  amount: double(),
  yes: boolean(),
  at: timestamp(),
  raw: bytes(),
})
const table = tableOf(thing)

describe('queries of a warehouse', () => {
  let directory: string
  let warehouse: Warehouse
  let bench: SinkBench
  let runner: SinkRunner

  beforeEach(async () => {
    directory = temporaryDirectory()
    warehouse = await openWarehouse({ path: join(directory, 'warehouse.duckdb') })
    bench = await SinkBench.create()
    await bench.produce(thing, [
      {
        id: 1,
        name: 'one',
        amount: 1.5,
        yes: true,
        at: Date.UTC(2010, 11, 1, 8, 26),
        raw: Buffer.from('a\0'),
      },
      {
        id: 2 ** 53 - 1,
        name: null,
        amount: NaN,
        yes: false,
        at: 1_700_000_000_123.456,
        raw: Buffer.from('z'),
      },
    ])
    runner = bench.start(warehouse.sink(table))
    await bench.drained(runner)
  })

  afterEach(async () => {
    await bench.close()
    await warehouse.close()
    removeDirectory(directory)
  })

  const ask = (sql: string, maxRows = 100): ReturnType<typeof queryWarehouse> =>
    queryWarehouse({ directory, sql, maxRows })

  it('are the same whether a run answers them or the file is read', async () => {
    const sql = `SELECT *, sum(id) OVER () AS huge, [1, 2] AS list, 1.10::DECIMAL(9, 2) AS exact, now() < 'infinity' AS n
                 FROM data.things ORDER BY id`
    const answered = await ask(sql)
    await bench.close()
    await warehouse.close()
    assert.ok(!existsSync(findSocket(directory)))
    const read = await ask(sql)
    assert.deepEqual(answered, read)
    assert.deepEqual(read.columns.slice(0, 7), [
      { name: 'id', type: 'BIGINT' },
      { name: 'name', type: 'VARCHAR' },
      { name: 'amount', type: 'DOUBLE' },
      { name: 'yes', type: 'BOOLEAN' },
      { name: 'at', type: 'TIMESTAMP' },
      { name: 'raw', type: 'BLOB' },
      { name: 'huge', type: 'HUGEINT' },
    ])
    assert.deepEqual(read.rows, [
      [1, 'one', 1.5, true, '2010-12-01 08:26:00', 'a\\x00', '9007199254740992', [1, 2], '1.10', true],
      [
        9007199254740991,
        null,
        'NaN',
        false,
        '2023-11-14 22:13:20.123456',
        'z',
        '9007199254740992',
        [1, 2],
        '1.10',
        true,
      ],
    ])
    assert.equal(read.truncated, false)
  })

  it('compare times with now() in UTC, whatever the zone of the machine', async () => {
    const { rows } = await ask(`SELECT epoch_ms(now()::TIMESTAMP), current_setting('TimeZone')`)
    assert.ok(Math.abs((rows[0]![0] as number) - Date.now()) < 60_000)
    assert.equal(rows[0]![1], 'UTC')
  })

  it('see what is durable while rows are being written, and do not hold the writer up', async () => {
    const slow = warehouse.query('SELECT count(*) FROM range(100000000000) t(i)', {
      maxRows: 1,
      timeoutMs: 60_000,
    })
    slow.catch(() => undefined)
    await bench.produce(thing, [{ id: 3, amount: 0, yes: true, at: 0, raw: Buffer.alloc(0) }])
    await bench.drained(runner)
    assert.deepEqual((await ask('SELECT count(*) FROM data.things')).rows, [[3]])
    await warehouse.close()
    await assert.rejects(slow, /INTERRUPT/)
  })

  it('are cut off at the row limit, and say so', async () => {
    const { rows, truncated } = await ask('SELECT i FROM range(5000) t(i)', 3)
    assert.deepEqual([rows, truncated], [[[0], [1], [2]], true])
    assert.equal((await ask('SELECT i FROM range(3) t(i)', 3)).truncated, false)
  })

  it('may be anything that reads', async () => {
    for (const sql of [
      'FROM data.things',
      'VALUES (1)',
      'WITH x AS (SELECT 1) SELECT * FROM x',
      'DESCRIBE data.things',
      'SHOW ALL TABLES',
      'SUMMARIZE SELECT id FROM data.things',
      'EXPLAIN SELECT 1',
      'SELECT 1; SELECT 2',
    ]) {
      assert.ok((await ask(sql)).columns.length > 0, sql)
    }
    assert.deepEqual((await ask('SELECT 1; SELECT 2')).rows, [[2]])
  })

  it('cannot change anything, here or elsewhere on the machine', async () => {
    const target = join(directory, 'out.csv')
    for (const sql of [
      'DELETE FROM data.things',
      'SELECT 1; DELETE FROM data.things',
      `UPDATE _millrace.positions SET next_offset = 0`,
      'INSERT INTO data.things SELECT * FROM data.things RETURNING id',
      'CREATE TABLE x (i INTEGER)',
      'CREATE TEMP TABLE x (i INTEGER)',
      'DROP TABLE data.things',
      'EXPLAIN ANALYZE DELETE FROM data.things',
      `COPY data.things TO '${target}'`,
      `COPY (SELECT 1) TO '${target}'`,
      `ATTACH '${target}' AS other`,
      `EXPORT DATABASE '${directory}/export'`,
      'INSTALL httpfs',
      'LOAD httpfs',
      'SET threads = 8',
      'PRAGMA threads = 8',
      'RESET ALL',
      'CHECKPOINT',
      'FORCE CHECKPOINT',
      'SELECT * FROM force_checkpoint()',
      'SELECT * FROM "enable_logging" ()',
      'CALL enable_logging()',
      'BEGIN',
      'COMMIT',
      'ROLLBACK; DELETE FROM data.things',
      'PREPARE p AS DELETE FROM data.things',
      'VACUUM',
      'USE memory',
      '',
      '-- nothing',
      'SELECT ?',
    ]) {
      await assert.rejects(ask(sql), { code: /^(NOT_A_QUERY|BAD_QUERY)$/ }, sql)
    }
    assert.deepEqual(readdirSync(directory).sort(), [
      'query.sock',
      'warehouse.duckdb',
      'warehouse.duckdb.wal',
    ])
    assert.deepEqual((await ask('SELECT count(*) FROM data.things')).rows, [[2]])
  })

  it('cannot read other files', async () => {
    for (const sql of [
      `SELECT * FROM read_text('/etc/hostname')`,
      `SELECT * FROM read_csv('/etc/passwd')`,
      `SELECT * FROM '/etc/passwd.csv'`,
      `SELECT * FROM glob('/*')`,
      `SELECT getenv('HOME')`,
    ]) {
      await assert.rejects(ask(sql), { code: /^(BAD_QUERY|QUERY_TOO_LARGE)$/ }, sql)
    }
  })

  it('that DuckDB does not understand come back with what it says', async () => {
    await assert.rejects(ask('SELEC 1'), { code: 'BAD_QUERY', message: /syntax error/ })
    await assert.rejects(ask('SELECT x FROM data.things'), { code: 'BAD_QUERY', message: /"x" not found/ })
    await assert.rejects(ask(`SELECT 'a'::INTEGER`), { code: 'BAD_QUERY', message: /Could not convert/ })
  })

  it('are ended when they take too long, or give too much', async () => {
    await assert.rejects(
      warehouse.query('SELECT count(*) FROM range(100000000000) t(i)', { maxRows: 1, timeoutMs: 50 }),
      { code: 'QUERY_TOO_LARGE', message: /ended after 0.05 s/ },
    )
    await assert.rejects(ask(`SELECT repeat('x', 1000000) FROM range(100)`), {
      code: 'QUERY_TOO_LARGE',
      message: /over 32 MiB/,
    })
    assert.deepEqual((await ask('SELECT 1')).rows, [[1]])
  })

  it('are answered for their owner alone', () => {
    assert.equal(statSync(findSocket(directory)).mode & 0o777, 0o600)
  })

  it('are not disturbed by clients that send rubbish, too much, nothing, or go away', async () => {
    const answers: string[] = []
    for (const text of [
      'rubbish\n',
      '{}\n',
      '{"sql": 1, "maxRows": 1}\n',
      `${'x'.repeat(1_100_000)}\n`,
      'null\n',
    ]) {
      const socket = connect(findSocket(directory))
      socket.on('error', () => undefined)
      socket.on('data', (chunk) => answers.push(chunk.toString()))
      socket.write(text)
      await once(socket, 'close')
    }
    assert.equal(answers.length, 5)
    assert.ok(answers.every((answer) => answer.includes('BAD_QUERY')))
    const silent = connect(findSocket(directory))
    const leaving = connect(findSocket(directory))
    leaving.write('{"sql": "SELECT count(*) FROM range(100000000000) t(i)", "maxRows": 1}\n')
    await once(leaving, 'connect')
    leaving.destroy()
    // More than may run at a time, beside the two.
    const results = await Promise.all(Array.from({ length: 8 }, (_, i) => ask(`SELECT ${i}`)))
    assert.deepEqual(
      results.map(({ rows }) => rows),
      Array.from({ length: 8 }, (_, i) => [[i]]),
    )
    silent.destroy()
  })

  it('find a socket elsewhere when the directory has too long a path, and leave nothing behind', async () => {
    const long = join(directory, 'd'.repeat(120))
    mkdirSync(long)
    const other = await openWarehouse({ path: join(long, 'warehouse.duckdb') })
    const socket = findSocket(long)
    assert.ok(socket.startsWith(tmpdir()) && socket.length <= 103)
    assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700)
    assert.deepEqual((await queryWarehouse({ directory: long, sql: 'SELECT 1' })).rows, [[1]])
    await other.close()
    assert.ok(!existsSync(dirname(socket)))
    assert.deepEqual(readdirSync(long), ['warehouse.duckdb'])
  })

  it('work after a process that was killed has left its socket', async () => {
    const left = join(directory, 'left')
    mkdirSync(left)
    writeFileSync(join(left, 'query.sock'), '')
    const first = await openWarehouse({ path: join(left, 'warehouse.duckdb') })
    assert.deepEqual((await queryWarehouse({ directory: left, sql: 'SELECT 1' })).rows, [[1]])
    await first.close()
    writeFileSync(join(left, 'query.sock'), '')
    assert.deepEqual((await queryWarehouse({ directory: left, sql: 'SELECT 2' })).rows, [[2]])
  })

  it('of a directory without tables say to run first', async () => {
    const empty = join(directory, 'empty')
    await assert.rejects(queryWarehouse({ directory: empty, sql: 'SELECT 1' }), {
      code: 'NO_WAREHOUSE',
      message: /run a pipeline/,
    })
    assert.ok(!existsSync(empty))
  })

  it('say when the process that runs has gone in the middle of its answer', async () => {
    const half = join(directory, 'half')
    mkdirSync(half)
    const server = createServer((socket) => socket.end('{"result": {'))
    server.listen(join(half, 'query.sock'))
    await once(server, 'listening')
    await assert.rejects(queryWarehouse({ directory: half, sql: 'SELECT 1' }), { code: 'NO_ANSWER' })
    server.close()
  })
})
