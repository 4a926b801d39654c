import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { writeAvro, writeParquet } from '../bridge/files/written.ts'
import { BIN, ordersRun, rowsOf, runOrders, Scratch, start, tablesOf } from './support.ts'

const RECORDS = 40_000
const BAD_EVERY = 4_000
const KILLS = 3
const FIRST_MS = Date.UTC(2026, 0, 1)

interface Order {
  readonly order_id: string
  /** Empty: refused. */
  readonly customer_id: string
  readonly amount: number
  readonly status: string
  readonly timestamp: string
}

const ORDERS: readonly Order[] = Array.from({ length: RECORDS }, (_, id) => ({
  order_id: `o-${id}`,
  customer_id: id % BAD_EVERY === 7 ? '' : `c-${id % 100}, "${id}"`,
  amount: (id % 1_000) / 4,
  status: 'delivered',
  timestamp: new Date(FIRST_MS + id * 500).toISOString(),
}))

const COLUMNS = Object.keys(ORDERS[0]!) as (keyof Order)[]

function csv(orders: readonly Order[]): string {
  const line = (order: Order): string =>
    COLUMNS.map((column) => `"${String(order[column]).replaceAll('"', '""')}"`).join(';')
  return `${[COLUMNS.join(';'), ...orders.map(line)].join('\r\n')}\r\n`
}

const AVRO_SCHEMA = {
  type: 'record',
  name: 'Order',
  fields: COLUMNS.map((name) => ({ name, type: name === 'amount' ? 'double' : 'string' })),
}

const WRITERS: Readonly<
  Record<string, (path: string, orders: readonly Order[], ndjson: string) => Promise<void>>
> = {
  'orders.ndjson': async (path, orders) => writeFileSync(path, ndjsonOf(orders)),
  'orders.json': async (path, orders) => writeFileSync(path, JSON.stringify(orders, null, 1)),
  'orders.json.gz': async (path, orders) => writeFileSync(path, gzipSync(JSON.stringify(orders))),
  'orders.csv': async (path, orders) => writeFileSync(path, csv(orders)),
  'orders.avro': (path, orders) => writeAvro(path, orders, { schema: AVRO_SCHEMA, codec: 'snappy' }),
  'orders.parquet': (path, _, ndjson) =>
    writeParquet(
      path,
      `select ${COLUMNS.join(', ')} from read_json('${ndjson}', columns = {${COLUMNS.map((name) => `${name}: '${name === 'amount' ? 'double' : 'varchar'}'`).join(', ')}})`,
      ', row_group_size 8192',
    ),
}

function ndjsonOf(orders: readonly Order[]): string {
  return orders.map((order) => `${JSON.stringify(order)}\n`).join('')
}

/** All tables but that of the dead letters, whose places differ by format. */
async function goodTables(directory: string): Promise<Map<string, string[]>> {
  const tables = await tablesOf(directory)
  tables.delete('main.dead_letters')
  return tables
}

describe('millrace run orders, on files of every format', () => {
  const scratch = new Scratch()
  let ndjson: string
  let expected: Map<string, string[]>
  before(async () => {
    ndjson = join(scratch.path, 'expected.ndjson')
    writeFileSync(ndjson, ndjsonOf(ORDERS))
    const directory = scratch.newDirectory()
    await runOrders(directory, [ndjson])
    expected = await goodTables(directory)
    assert.equal(expected.get('ecommerce_orders.orders')!.length, RECORDS - RECORDS / BAD_EVERY)
  })
  after(() => scratch.remove())

  async function check(directory: string): Promise<void> {
    assert.deepEqual(await goodTables(directory), expected)
    const letters = await rowsOf(directory, 'select field, count(*)::integer from dead_letters group by all')
    assert.deepEqual(letters, [['customer_id', RECORDS / BAD_EVERY]])
  }

  for (const [name, write] of Object.entries(WRITERS)) {
    it(`${name}: the tables of an undisturbed run after ${KILLS} kill -9`, async () => {
      const path = join(scratch.path, name)
      await write(path, ORDERS, ndjson)
      const directory = scratch.newDirectory()
      let kills = 0
      for (let i = 0; i < KILLS; i++) {
        const process = start(ordersRun(directory, [path]))
        await process.bound
        await sleep(100 + Math.random() * 250)
        if (await process.kill('SIGKILL')) kills++
      }
      assert.ok(kills > 0, 'no kill hit a living process')
      await runOrders(directory, [path])
      await check(directory)
    })
  }

  it('a directory of them all, each with a part of the orders', async () => {
    const inbox = join(scratch.path, 'inbox')
    mkdirSync(inbox)
    const names = Object.keys(WRITERS)
    const share = Math.ceil(RECORDS / names.length)
    for (const [i, name] of names.entries()) {
      const part = ORDERS.slice(i * share, (i + 1) * share)
      const source = join(scratch.path, 'part.ndjson')
      writeFileSync(source, ndjsonOf(part))
      await WRITERS[name]!(join(inbox, `${i}-${name}`), part, source)
    }
    const directory = scratch.newDirectory()
    const first = start(ordersRun(directory, [inbox]))
    await first.bound
    await sleep(200)
    await first.kill('SIGKILL')
    await runOrders(directory, [inbox])
    await check(directory)
  })

  it('standard input', async () => {
    const directory = scratch.newDirectory()
    const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...ordersRun(directory, ['-'])], {
      cwd: scratch.path,
      input: ndjsonOf(ORDERS),
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.match(stdout, /source orders from stdin \(ndjson, cannot be read twice\)/)
    await check(directory)
    const [line] = await rowsOf(
      directory,
      'select source, line::integer from dead_letters order by line limit 1',
    )
    assert.deepEqual(line, ['stdin', 8])
  })
})
