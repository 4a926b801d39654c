import assert from 'node:assert/strict'
import fc from 'fast-check'
import orders from '../../pipelines/orders/index.ts'
import { testScale } from '../../config/test-scale.ts'
import { PROTOCOL_STEPS } from '../../processor/runtime/protocol.ts'
import type { DriverOptions, PipelineDriver } from '../../processor/testing/driver.ts'
import { modelOf, type GivenOrder, type WindowRow } from './orders-model.ts'
import { follow, schedules } from './schedule.ts'
import { finish, openDriver, START } from './support.ts'

const MINUTE = 60_000

let number = 0
function order(minute: number, fields: Partial<GivenOrder> = {}): GivenOrder {
  return {
    order_id: `o-${++number}`,
    customer_id: 'c-1',
    amount: 10,
    status: 'confirmed',
    timestamp: START + minute * MINUTE,
    ...fields,
  }
}

async function windowsOf(driver: PipelineDriver): Promise<WindowRow[]> {
  const rows = (await driver.rows('ecommerce_orders.hourly_metrics')) as unknown as WindowRow[]
  return rows.map(({ window_start, order_count, total_revenue }) => ({
    window_start,
    order_count,
    total_revenue,
  }))
}

async function lateOf(driver: PipelineDriver): Promise<string[]> {
  const rows = (await driver.rows('metrics-late')) as unknown as (GivenOrder & { late_mark: string })[]
  assert.ok(rows.every(({ late_mark }) => late_mark === 'watermark' || late_mark === 'end'))
  return rows.map(({ order_id, status }) => `${order_id}/${status}`).sort()
}

describe('orders, under virtual time', () => {
  let driver: PipelineDriver

  async function start(options: DriverOptions = {}): Promise<void> {
    driver = await openDriver(orders, options)
  }

  afterEach(() => driver.close())

  it('counts and sums five minutes, and calls fewer than five orders a DROP', async () => {
    await start()
    await driver.send('orders', [order(0), order(1), order(2), order(3), order(4), order(6, { amount: 2.5 })])
    await finish(driver)
    assert.deepEqual(await windowsOf(driver), [
      { window_start: START, order_count: 5, total_revenue: 50 },
      { window_start: START + 5 * MINUTE, order_count: 1, total_revenue: 2.5 },
    ])
    assert.deepEqual(await driver.rows('order-alerts'), [
      {
        alert_type: 'DROP',
        window_start: START + 5 * MINUTE,
        window_end: START + 10 * MINUTE,
        order_count: 1,
      },
    ])
  })

  it('calls more than 1000 orders in five minutes a SPIKE', async () => {
    await start()
    await driver.send(
      'orders',
      Array.from({ length: 1_001 }, () => order(1)),
    )
    await finish(driver)
    const alerts = await driver.rows('order-alerts')
    assert.deepEqual(
      alerts.map(({ alert_type, order_count }) => [alert_type, order_count]),
      [['SPIKE', 1_001]],
    )
  })

  it('calls ten minutes without a sign of the source STALLED, once', async () => {
    await start()
    await driver.send('orders', [order(0)])
    await driver.settle()
    await driver.pass(20 * MINUTE)
    await driver.settle()
    assert.deepEqual(await driver.rows('order-alerts'), [
      {
        alert_type: 'STALLED',
        window_start: START + 1440 * MINUTE,
        window_end: START + 1450 * MINUTE,
        order_count: 0,
      },
    ])
  })

  it('writes windows without any order between the first and the last, with a DROP each', async () => {
    await start()
    await driver.send('orders', [order(0), order(21)])
    await finish(driver)
    assert.deepEqual(
      (await windowsOf(driver)).map(({ order_count }) => order_count),
      [1, 0, 0, 0, 1],
    )
    assert.equal((await driver.rows('order-alerts')).length, 5)
    const [, empty] = await driver.rows('ecommerce_orders.hourly_metrics')
    assert.equal(empty!['avg_order_value'], null)
  })

  it('closes a window only when the watermark has passed its end and its grace', async () => {
    await start()
    await driver.send('orders', [order(1), order(65.4)])
    await driver.settle()
    assert.deepEqual(await windowsOf(driver), [])
    await driver.send('orders', [order(65.5)])
    await driver.settle()
    assert.deepEqual((await windowsOf(driver)).length, 1)
  })

  it('drops a redelivered order, keeps the same order in another status, and takes it again a day later', async () => {
    await start()
    const first = order(1)
    await driver.send('orders', [first, first, { ...first, status: 'delivered' }])
    driver.clock.advance(24 * 60 * MINUTE)
    await driver.send('orders', [first])
    await driver.settle()
    driver.clock.advance(24 * 60 * MINUTE + 1)
    await driver.send('orders', [first])
    await driver.settle()
    assert.equal((await driver.rows('ecommerce_orders.orders')).length, 3)
  })

  it('sends a late order to the late stream with its mark, and counts it in no window', async () => {
    await start()
    const late = order(1)
    await driver.send('orders', [order(0), order(66), late])
    await finish(driver)
    assert.deepEqual(await lateOf(driver), [`${late.order_id}/confirmed`])
    assert.equal((await windowsOf(driver))[0]!.order_count, 1)
    const [row] = await driver.rows('metrics-late')
    assert.deepEqual(
      { watermark: row!['watermark'], window_start: row!['window_start'], late_mark: row!['late_mark'] },
      { watermark: START + 6 * MINUTE, window_start: START, late_mark: 'watermark' },
    )
  })

  it('goes on after an end mark as if there had been one run', async () => {
    await start()
    await driver.send('orders', [order(0), order(7)])
    await finish(driver)
    await driver.send('orders', [order(31), order(8)])
    await finish(driver)
    assert.deepEqual(
      (await windowsOf(driver)).map(({ order_count }) => order_count),
      [1, 1, 0, 0, 0, 0, 1],
    )
    assert.equal((await lateOf(driver)).length, 1)
  })

  it('sends bytes that are no record to dead letters and goes on', async () => {
    await start()
    await driver.sendBytes('orders', 'k', Buffer.from('not avro'))
    await driver.sendBytes('orders', 'k', null)
    await driver.send('orders', [order(0)])
    await finish(driver)
    assert.equal((await windowsOf(driver)).length, 1)
    const letters = await driver.deadLetters()
    assert.equal(letters.length, 2)
    assert.deepEqual(
      letters.map(({ pipeline, source }) => [pipeline, source]),
      [
        ['orders', 'orders.order-events'],
        ['orders', 'orders.order-events'],
      ],
    )
  })

  for (const step of PROTOCOL_STEPS) {
    it(`loses and doubles nothing when it dies right after ${step}`, async () => {
      await start()
      const given = [order(0), order(3), order(12), order(90)]
      driver.crashAt(step)
      await driver.send('orders', given)
      await driver.settle()
      driver.crashAt(step)
      await driver.send('orders', [order(91), given[0]])
      await finish(driver)
      const expected = modelOf([[...given, { ...order(91) }]])
      assert.deepEqual(await windowsOf(driver), expected.windows)
      assert.equal((await driver.rows('ecommerce_orders.orders')).length, 5)
      assert.equal(driver.counters()['orders-dedupe.duplicates'], 1)
    })
  }

  it('gives the same windows and late orders for any disorder, batches, partitions, crashes and lost state', async function () {
    this.timeout(300_000)
    const given = fc.record({
      // Of the whole span: many orders of one window in some cases, far disorder in others.
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      amount: fc.double({ noNaN: true, min: -1e6, max: 1e6 }),
      copyOf: fc.option(fc.nat(20), { nil: null, freq: 5 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.array(given, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 }), {
          minLength: 1,
          maxLength: 3,
        }),
        schedules,
        fc.constantFrom(4, 20, 400),
        fc.constantFrom(1, 4, 8),
        fc.constantFrom(1, 3, 1_000),
        fc.constantFrom(200, 2_000_000),
        fc.constantFrom(0, 64 * 1024 * 1024),
        async (runs, schedule, spanMinutes, partitions, commitRecords, fetchBytes, cacheBytes) => {
          await start({ partitions, worker: { commitRecords, fetchBytes, cacheBytes, commitIntervalMs: 0 } })
          const all: GivenOrder[][] = []
          for (const run of runs) {
            const flat: GivenOrder[] = []
            for (const part of run) {
              const values = part.map(({ share, amount, copyOf }) => {
                const value =
                  copyOf !== null && flat[copyOf]
                    ? flat[copyOf]
                    : order(Math.round(share * spanMinutes), { amount })
                flat.push(value)
                return value
              })
              await driver.send('orders', values)
              await follow(schedule, driver)
            }
            await driver.end()
            all.push(flat)
          }
          await driver.settle()
          const expected = modelOf(all)
          assert.deepEqual(await windowsOf(driver), expected.windows)
          assert.deepEqual(await lateOf(driver), expected.late)
          const rows = (await driver.rows('ecommerce_orders.orders')) as unknown as GivenOrder[]
          assert.deepEqual(rows.map(({ order_id, status }) => `${order_id}/${status}`).sort(), expected.taken)
          await driver.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
    await start()
  })
})
