import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { openWarehouse, type Warehouse } from '../../../sinks/local/warehouse.ts'
import { millrace, type Said } from '../support.ts'

const NASTY = `a "quoted", 'single'\nline; émoji 🎈`
const SQL = `select * from (values
  (timestamp '2026-11-21 14:00:00.5', 1::bigint, 2.5::double, '${NASTY.replaceAll("'", "''")}', 1.10::decimal(9,2), [1, 2], true),
  (timestamp '2026-11-21 14:05:00', null, 'infinity'::double, '', null, null, null),
  (null, 9223372036854775807, -0.1, null, 12345678901.25::decimal(18,2), [], false)) t(time, n, x, text, price, list, flag)`

async function read(path: string, sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    return (
      await connection.runAndReadAll(sql.replace('FILE', `'${path.replaceAll("'", "''")}'`))
    ).getRowsJson()
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

for (const held of [true, false]) {
  describe(`a query's result, ${held ? 'while a run holds the tables' : 'when no run does'}`, () => {
    let cwd: string
    let warehouse: Warehouse | null = null

    before(async () => {
      cwd = mkdtempSync(join(tmpdir(), 'millrace-output-'))
      mkdirSync(join(cwd, 'millrace-data'))
      warehouse = await openWarehouse({ path: join(cwd, 'millrace-data', 'warehouse.duckdb') })
      if (!held) await warehouse.close()
    })
    after(async () => {
      await warehouse?.close()
      rmSync(cwd, { recursive: true })
    })

    const query = (...args: string[]): Promise<Said> =>
      millrace(['query', 'orders', '--data-dir', join(cwd, 'millrace-data'), ...args], {
        cwd,
        env: { COLUMNS: '40' },
      })
    const output = async (name: string): Promise<string> => {
      const said = await query('--sql', SQL, '--output', name)
      assert.deepEqual(said, { exitCode: 0, stdout: '', stderr: `3 rows in ${name}\n` })
      return join(cwd, name)
    }

    it('is written as CSV, whatever its texts hold', async () => {
      const path = await output("it's 100%.csv")
      const [first, second, third] = await read(path, 'from read_csv(FILE, all_varchar = true)')
      assert.deepEqual(first, ['2026-11-21T14:00:00.5Z', '1', '2.5', NASTY, '1.10', '[1,2]', 'true'])
      assert.deepEqual(second!.slice(0, 3), ['2026-11-21T14:05:00Z', null, 'Infinity'])
      assert.deepEqual(third!.slice(0, 3), [null, '9223372036854775807', '-0.1'])
      assert.match(readFileSync(path, 'utf8'), /^time,n,x,text,price,list,flag\n/)
    })

    it('is written as Parquet, with its types', async () => {
      const path = await output('typed.parquet')
      const types = await read(path, 'select column_name, column_type from (describe from FILE)')
      assert.deepEqual(
        types,
        [
          ['time', 'TIMESTAMP'],
          ['n', 'BIGINT'],
          ['x', 'DOUBLE'],
          ['text', 'VARCHAR'],
          ['price', 'DECIMAL(9,2)'],
          ['list', 'VARCHAR'],
          ['flag', 'BOOLEAN'],
        ].map(([name, type]) => [name, name === 'price' ? 'DECIMAL(18,2)' : type]),
      )
      const rows = await read(
        path,
        'select time::varchar, n::varchar, x::varchar, text, price::varchar, flag from FILE',
      )
      assert.deepEqual(rows, [
        ['2026-11-21 14:00:00.5', '1', '2.5', NASTY, '1.10', true],
        ['2026-11-21 14:05:00', null, 'inf', '', null, null],
        [null, '9223372036854775807', '-0.1', null, '12345678901.25', false],
      ])
    })

    it('is written as one JSON text, or as one object a line', async () => {
      const all = JSON.parse(readFileSync(await output('all.json'), 'utf8')) as {
        time: string
        text: string
      }[]
      assert.deepEqual(
        all.map(({ time, text }) => [time, text]),
        [
          ['2026-11-21T14:00:00.5Z', NASTY],
          ['2026-11-21T14:05:00Z', ''],
          [null, null],
        ],
      )
      const lines = readFileSync(await output('lines.ndjson'), 'utf8')
        .trimEnd()
        .split('\n')
      assert.deepEqual(
        lines.map((line) => JSON.parse(line) as unknown),
        all,
      )
    })

    it('is written under the name of the query where only a format is given', async () => {
      const said = await query('--sql', 'select 1 as a where false', '-o', 'json')
      assert.equal(said.stderr, '0 rows in query.json\n')
      assert.deepEqual(JSON.parse(readFileSync(join(cwd, 'query.json'), 'utf8')), [])
    })

    it('has all rows in a file, where a table shows a thousand', async () => {
      const said = await query('--sql', 'select range from range(3000)', '-o', 'many.csv')
      assert.equal(said.stderr, '3,000 rows in many.csv\n')
      assert.equal(readFileSync(join(cwd, 'many.csv'), 'utf8').split('\n').length, 3_002)
    })

    it('is drawn in as many columns as there are', async () => {
      const sql = `select 'IE' as country, 10 as orders union all select 'DE', 5 order by orders desc`
      const said = await query('--chart', '--sql', sql)
      assert.equal(said.stdout, `orders by country\nIE  10  ${'█'.repeat(32)}\nDE   5  ${'█'.repeat(16)}\n`)
    })

    it('that cannot be written leaves nothing behind, and says why', async () => {
      const before = readdirSync(cwd)
      for (const [args, says] of [
        [['-o', 'nowhere/x.csv'], /^error ENOENT: .*nowhere\/x\.csv/],
        [['-o', 'x.xls'], /^error BAD_USAGE: --output is "x\.xls": it must be a file that ends with \.csv/],
        [['-o', 'x.csv', '--chart'], /^error BAD_USAGE: --chart and --output are ways to show a result/],
        [['--chart'], /^error NO_CHART: a chart needs/],
        [['-o', 'millrace-data/.csv'], /^error BAD_USAGE/],
      ] as [string[], RegExp][]) {
        const { exitCode, stdout, stderr } = await query('--sql', 'select 1 as a', ...args)
        assert.match(stderr, says)
        assert.ok(exitCode > 0 && stdout === '')
      }
      assert.deepEqual(readdirSync(cwd), before)
    })
  })
}
