import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { day } from '../../../schemas/destinations.ts'
import { bytes, double, int, long, optional, schema, string, timestamp } from '../../../schemas/schema.ts'
import { openWarehouse, type Warehouse } from '../../../sinks/local/warehouse.ts'
import { SinkBench, tableOf } from '../support.ts'
import { removeDirectory, temporaryDirectory } from './support.ts'

const order = schema('Order', {
  order_id: string(),
  amount: double(),
  country: optional(string()),
  at: timestamp(),
  count: long(),
  small: int(),
  raw: optional(bytes()),
})

const DESCRIBED = tableOf(order, {
  name: 'shop.orders',
  partitionBy: day('at'),
  clusterBy: ['country'],
  description: `The shop's orders.`,
  descriptions: { order_id: `It's the order's number`, at: 'When' },
})

describe('a DuckDB warehouse', () => {
  let directory: string
  let path: string
  let warehouse: Warehouse

  beforeEach(async () => {
    directory = temporaryDirectory()
    path = join(directory, 'warehouse.duckdb')
    warehouse = await openWarehouse({ path })
  })

  afterEach(async () => {
    await warehouse.close()
    removeDirectory(directory)
  })

  const rows = async (sql: string): Promise<readonly (readonly unknown[])[]> =>
    (await warehouse.query(sql, { maxRows: 1_000, timeoutMs: 10_000 })).rows

  /** Changes the file as its owner would, with the pipeline stopped. */
  const change = async (...statements: string[]): Promise<void> => {
    await warehouse.close()
    const instance = await DuckDBInstance.create(path)
    const connection = await instance.connect()
    for (const sql of statements) await connection.run(sql)
    connection.closeSync()
    instance.closeSync()
    warehouse = await openWarehouse({ path })
  }

  it('makes tables with fitting types, every column described', async () => {
    assert.deepEqual(await warehouse.sink(DESCRIBED).prepare(), ['created'])
    assert.deepEqual(
      await rows(`SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns()
                  WHERE schema_name = 'shop' ORDER BY column_index`),
      [
        ['order_id', 'VARCHAR', false, `It's the order's number`],
        ['amount', 'DOUBLE', false, null],
        ['country', 'VARCHAR', true, null],
        ['at', 'TIMESTAMP', false, 'When'],
        ['count', 'BIGINT', false, null],
        ['small', 'INTEGER', false, null],
        ['raw', 'BLOB', true, null],
      ],
    )
    assert.deepEqual(await rows(`SELECT comment FROM duckdb_tables() WHERE schema_name = 'shop'`), [
      [`The shop's orders. Partitioned by day of at. Clustered by country.`],
    ])
    assert.deepEqual(await warehouse.sink(DESCRIBED).prepare(), [], 'the second time there is nothing to do')
  })

  it('takes new descriptions over', async () => {
    await warehouse.sink(DESCRIBED).prepare()
    await warehouse.sink({ ...DESCRIBED, descriptions: { at: 'Now' }, description: 'New.' }).prepare()
    assert.deepEqual(await rows(`SELECT comment FROM duckdb_columns() WHERE column_name = 'at'`), [['Now']])
    assert.match(
      (await rows(`SELECT comment FROM duckdb_tables() WHERE table_name = 'orders'`))[0]![0] as string,
      /^New\. /,
    )
  })

  it('takes names that are keywords or need quotes, and tables without a dataset', async () => {
    const keywords = schema('Select', { select: long(), order: optional(string()), at: optional(long()) })
    for (const name of ['dead_letters', 'my-data.or"der', 'group.table']) {
      const bench = await SinkBench.create()
      await bench.produce(keywords, [{ select: 1, order: 'x', at: 2 }])
      await bench.drained(bench.start(warehouse.sink(tableOf(keywords, { name }))))
      await bench.close()
    }
    assert.deepEqual(await rows('SELECT * FROM main.dead_letters'), [[1, 'x', 2]])
    assert.deepEqual(await rows('SELECT * FROM "my-data"."or""der"'), [[1, 'x', 2]])
  })

  it('says which columns have drifted, from what to what, and what to do', async () => {
    await change(
      'CREATE SCHEMA shop',
      `CREATE TABLE shop.orders (order_id INTEGER NOT NULL, amount DOUBLE NOT NULL, country VARCHAR NOT NULL,
        "at" TIMESTAMP, count BIGINT, extra VARCHAR NOT NULL, more VARCHAR)`,
    )
    await assert.rejects(warehouse.sink(DESCRIBED).prepare(), (error: Error & { code: string }) => {
      assert.equal(error.code, 'DRIFT')
      for (const part of [
        'Table shop.orders does not fit',
        'column order_id is INTEGER NOT NULL (should be VARCHAR NOT NULL)',
        'column country is VARCHAR NOT NULL (should be VARCHAR)',
        'column small is missing (should be INTEGER NOT NULL)',
        'column extra is VARCHAR NOT NULL (the pipeline has no value for it)',
        'ALTER TABLE "shop"."orders" RENAME TO "orders_old"',
      ]) {
        assert.ok(error.message.includes(part), `${part} in: ${error.message}`)
      }
      assert.ok(!/column (amount|at|count|more|raw)\b/.test(error.message), error.message)
      return true
    })
    assert.deepEqual(await rows(`SELECT count(*) FROM duckdb_columns() WHERE column_name = 'raw'`), [[0]])
  })

  it('fills a table that has its columns in another order and some of its own', async () => {
    await change(
      'CREATE SCHEMA data',
      'CREATE TABLE data.things (mine INTEGER[], name VARCHAR, note VARCHAR, id BIGINT NOT NULL)',
      `INSERT INTO data.things VALUES ([7], 'by hand', 'kept', 0)`,
    )
    const bench = await SinkBench.create()
    const thing = schema('Thing', { id: long(), name: optional(string()), size: optional(double()) })
    await bench.produce(thing, [{ id: 1, name: 'a', size: 2.5 }, { id: 2 }])
    await bench.drained(bench.start(warehouse.sink(tableOf(thing))))
    assert.deepEqual(bench.events[0], {
      kind: 'prepared',
      destination: 'data.things',
      changes: ['added column size (DOUBLE)'],
    })
    await bench.close()
    assert.deepEqual(await rows('SELECT * FROM data.things ORDER BY id'), [
      [[7], 'by hand', 'kept', 0, null],
      [null, 'a', null, 1, 2.5],
      [null, null, null, 2, null],
    ])
  })

  it('reads an integer into a column that holds more, and refuses what would lose something', async () => {
    const narrow = schema('Thing', { id: int(), size: long() })
    const wide = tableOf(schema('Thing', { id: long(), size: double() }))
    const bench = await SinkBench.create()
    await bench.produce(narrow, [{ id: -5, size: 2 ** 40 }])
    await bench.produce(schema('Thing', { id: double(), size: double() }), [{ id: 1, size: 1 }])
    await bench.produce(schema('Thing', { size: long() }), [{ size: 1 }])
    const runner = bench.start(warehouse.sink(wide))
    await bench.drained(runner)
    assert.deepEqual(await rows('SELECT * FROM data.things'), [[-5, 2 ** 40]])
    const letters = await bench.deadLetters()
    assert.deepEqual(
      letters.map(({ field, reason }) => [field, reason]),
      [
        ['id', `Thing.id is a double, the table's column is a long.`],
        ['id', 'Thing has no field id, which data.things requires.'],
      ],
    )
    await bench.close()
  })

  it('fills a dropped table afresh, from the start of the log', async () => {
    const thing = schema('Thing', { id: long() })
    const bench = await SinkBench.create()
    await bench.produce(thing, [{ id: 1 }, { id: 2 }])
    const first = bench.start(warehouse.sink(tableOf(thing)))
    await bench.drained(first)
    await bench.stop(first)
    await change('ALTER TABLE data.things RENAME TO things_old')
    await bench.drained(bench.start(warehouse.sink(tableOf(thing))))
    assert.deepEqual(await rows('SELECT id FROM data.things ORDER BY id'), [[1], [2]])
    assert.deepEqual(
      bench.events.find(({ kind }) => kind === 'rewriting'),
      {
        kind: 'rewriting',
        destination: 'data.things',
        topic: 'shop.things',
        partition: 0,
        from: 0,
        until: 2,
      },
    )
    await bench.close()
  })

  it('put into the directory of another log stops its sink, and says why', async () => {
    const thing = schema('Thing', { id: long() })
    for (const [expected, run] of [null, 'POSITION_MISMATCH'].entries()) {
      const bench = await SinkBench.create()
      await bench.produce(thing, [{ id: expected }])
      const runner = bench.start(warehouse.sink(tableOf(thing)))
      if (run === null) await bench.drained(runner)
      else assert.equal((await bench.failureOf(runner)).code, run)
      await bench.close()
    }
    assert.deepEqual(await rows('SELECT id FROM data.things'), [[0]])
  })

  it('lets no bad work spoil the transaction of another for long', async () => {
    await warehouse.transaction({ bytes: 0 }, ({ connection }) =>
      connection.run('CREATE TABLE t (i INTEGER)'),
    )
    const good = warehouse.transaction({ bytes: 0 }, ({ connection }) =>
      connection.run('INSERT INTO t VALUES (1)'),
    )
    const bad = warehouse.transaction({ bytes: 0 }, ({ connection }) =>
      connection.run('INSERT INTO nowhere VALUES (1)'),
    )
    await assert.rejects(bad, /nowhere does not exist/)
    await assert.rejects(good, { code: 'UNAVAILABLE' })
    await warehouse.transaction({ bytes: 0 }, ({ connection }) => connection.run('INSERT INTO t VALUES (2)'))
    assert.deepEqual(await rows('SELECT i FROM t'), [[2]])
  })

  it('is refused while another process has it, with that one’s pid', async () => {
    await warehouse.close()
    const api = import.meta.resolve('@duckdb/node-api')
    const code = `import { DuckDBInstance } from '${api}'
      const instance = await DuckDBInstance.create(process.argv[1])
      process.stdout.write('open')
      process.stdin.resume()`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', code, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    await assert.rejects(openWarehouse({ path, lockWaitMs: 150 }), {
      code: 'WAREHOUSE_IN_USE',
      message: new RegExp(`pid ${holder.pid!}`),
    })
    // One that lets go soon is waited for.
    const waiting = openWarehouse({ path, lockWaitMs: 30_000 })
    holder.kill('SIGKILL')
    warehouse = await waiting
  })

  it('says of a damaged file what to do, and leaves it alone', async () => {
    await warehouse.sink(DESCRIBED).prepare()
    await warehouse.close()
    const other = join(directory, 'other')
    mkdirSync(other)
    const damaged = join(other, 'warehouse.duckdb')
    writeFileSync(damaged, 'this is no database at all, whatever its name says')
    await assert.rejects(openWarehouse({ path: damaged }), {
      code: 'WAREHOUSE_DAMAGED',
      message: /move it away/,
    })
    copyFileSync(path, damaged)
    truncateSync(damaged, 5_000)
    await assert.rejects(openWarehouse({ path: damaged }), { code: 'WAREHOUSE_DAMAGED' })
    assert.ok(existsSync(damaged))
    await assert.rejects(openWarehouse({ path: join(directory, 'no', 'where.duckdb') }), {
      code: 'WAREHOUSE_UNUSABLE',
      message: /No such file or directory/,
    })
  })
})
