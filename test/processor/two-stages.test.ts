import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { definePipeline, source } from '../../processor/topology/pipeline.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table } from '../../schemas/destinations.ts'
import { double, string, timestamp } from '../../schemas/schema.ts'
import { modelOf, type GivenOrder, type Timing, type WindowRow } from './orders-model.ts'
import { finish, openDriver, START } from './support.ts'

function pipelineOf({ sizeMs, graceMs, disorderMs }: Timing): ReturnType<typeof definePipeline> {
  const event = contract(
    'Event',
    { order_id: string(), status: string(), amount: double(), timestamp: timestamp() },
    { id: ['order_id', 'status'], key: 'order_id', eventTime: 'timestamp', disorder: disorderMs },
  )
  return definePipeline({
    name: 'two-stages',
    sources: { events: source('events', event) },
    build({ events }) {
      events
        .window(tumbling(sizeMs, { grace: graceMs, emptyWindows: true }))
        .aggregate('totals', { order_count: count(), total_revenue: sum((e) => e.amount) })
        .to(table('d.totals'))
    },
  })
}

describe('a keyless window in two stages', () => {
  it('has no late partial, whatever the graces and however far the processes lag behind each other', async function () {
    this.timeout(300_000)
    const event = fc.record({
      atMs: fc.integer({ min: 0, max: 200_000 }),
      amount: fc.double({ noNaN: true, min: -1e9, max: 1e9 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          sizeMs: fc.integer({ min: 1, max: 20_000 }),
          graceMs: fc.integer({ min: 0, max: 40_000 }),
          disorderMs: fc.integer({ min: 0, max: 60_000 }),
        }),
        fc.array(fc.array(event, { minLength: 1, maxLength: 15 }), { minLength: 1, maxLength: 6 }),
        fc.constantFrom(1, 3, 4, 8),
        fc.integer({ min: 1, max: 3 }),
        fc.infiniteStream(fc.nat(20)),
        async (timing, parts, partitions, processes, schedule) => {
          // As many windows as a test can read.
          const sizeMs = Math.max(timing.sizeMs, 200)
          const driver = await openDriver(pipelineOf({ ...timing, sizeMs }), {
            partitions,
            processes,
            worker: { commitRecords: 1, fetchBytes: 200, commitIntervalMs: 0 },
          })
          let number = 0
          const given: GivenOrder[] = []
          for (const part of parts) {
            const orders = part.map(({ atMs, amount }) => ({
              order_id: `e-${++number}`,
              customer_id: '',
              status: 's',
              amount,
              timestamp: START + atMs,
            }))
            given.push(...orders)
            await driver.send('events', orders)
            // Some processes run ahead, some not at all, now and then one dies.
            for (const choice of schedule.take(6)) {
              if (choice === 20) driver.kill(choice % processes)
              else await driver.step(choice % processes)
            }
          }
          await finish(driver)
          const expected = modelOf([given], { ...timing, sizeMs })
          const rows = (await driver.rows('d.totals')) as unknown as WindowRow[]
          assert.deepEqual(
            rows.map(({ window_start, order_count, total_revenue }) => ({
              window_start,
              order_count,
              total_revenue,
            })),
            expected.windows,
          )
          const late = (await driver.rows('totals-late')) as unknown as (GivenOrder & { late_mark: string })[]
          assert.deepEqual(late.map(({ order_id, status }) => `${order_id}/${status}`).sort(), expected.late)
          assert.ok(late.every(({ late_mark }) => late_mark !== 'closed'))
          await driver.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
  })
})
