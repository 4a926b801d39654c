import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../../bridge/generator/random.ts'
import { modelOf, type GivenOrder, type WindowRow } from '../processor/orders-model.ts'
import { digestsIn, rowsOf, runOrders, Scratch } from './support.ts'

const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000
const ORDERS = 3_000
/** How far an order may lie behind those before it; the contract allows for one hour. */
const DISORDER_MS = 180 * MINUTE

/** Orders over about two days; one in fifty comes twice. */
function disorderedOrders(seed: number): GivenOrder[] {
  const random = new Random()
  const orders: GivenOrder[] = []
  for (let i = 0; i < ORDERS; i++) {
    random.seed(seed, i)
    if (i > 0 && random.unit() < 0.02) {
      orders.push(orders[random.below(i)]!)
      continue
    }
    orders.push({
      order_id: `o-${i}`,
      customer_id: `c-${random.below(100)}`,
      amount: random.below(100_000) / 100,
      status: random.pick(['delivered', 'cancelled']),
      timestamp: START + i * MINUTE - Math.floor(random.unit() * DISORDER_MS),
    })
  }
  return orders
}

describe('millrace run orders, on orders up to three hours out of order', () => {
  const scratch = new Scratch()
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  const replay = `SEED=${seed} replays it`
  const runs = [disorderedOrders(seed).slice(0, ORDERS / 2), disorderedOrders(seed).slice(ORDERS / 2)]
  let paths: string[]
  const expected = modelOf(runs)
  const digests = new Map<string, Record<string, string>>()

  before(() => {
    console.log(`      seed ${seed}`)
    assert.ok(expected.late.length > 50 && expected.windows.length > 100, replay)
    paths = runs.map((_, i) => join(scratch.path, `run-${i}.ndjson`))
    for (const [i, orders] of runs.entries()) {
      const lines = orders.map((order) => {
        return JSON.stringify({ ...order, timestamp: new Date(order.timestamp).toISOString() })
      })
      writeFileSync(paths[i]!, `${lines.join('\n')}\n`)
    }
  })
  after(() => scratch.remove())

  for (const partitions of ['1', '4', '8']) {
    it(`gives the windows and the late records of the reference model with --partitions ${partitions}`, async () => {
      const directory = scratch.newDirectory()
      for (const path of paths) await runOrders(directory, [path], '--partitions', partitions)
      assert.deepEqual(await windowsIn(directory), expected.windows, replay)
      const ids = async (table: string): Promise<string[]> =>
        (await rowsOf(directory, `select order_id || '/' || status from ecommerce_orders.${table}`))
          .map(([id]) => id as string)
          .sort()
      assert.deepEqual(await ids('metrics_late'), expected.late, replay)
      assert.deepEqual(await ids('orders'), expected.taken, replay)
      digests.set(partitions, await digestsIn(directory))
    })
  }

  it('gives the same tables, the watermark of each late record too, whatever the partitions', () => {
    assert.equal(digests.size, 3)
    assert.deepEqual(digests.get('4'), digests.get('1'), replay)
    assert.deepEqual(digests.get('8'), digests.get('1'), replay)
  })
})

async function windowsIn(directory: string): Promise<WindowRow[]> {
  const rows = await rowsOf(
    directory,
    `select epoch_ms(window_start)::double, order_count::double, total_revenue
      from ecommerce_orders.hourly_metrics order by window_start`,
  )
  return (rows as number[][]).map(([start, count, revenue]) => ({
    window_start: start!,
    order_count: count!,
    total_revenue: revenue!,
  }))
}
