import assert from 'node:assert/strict'
import fc from 'fast-check'
import orders from '../../../../pipelines/orders/index.ts'
import { testScale } from '../../../../config/test-scale.ts'
import { startRedis, type RedisServers } from '../../../../deploy/stack/servers.ts'
import { PROTOCOL_STEPS } from '../../../../processor/runtime/protocol.ts'
import type { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { PipelineDriver } from '../../../../processor/testing/driver.ts'
import { ownServer } from '../../../support/servers.ts'
import { modelOf, type GivenOrder, type WindowRow } from '../../orders-model.ts'
import { cli, goBackToCopy, keepCopy, openState } from './support.ts'

const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000

/** An order at a minute, or one that was sent before, which state alone remembers. */
const given = fc.record({ minute: fc.nat(99), copyOf: fc.option(fc.nat(30), { nil: null, freq: 2 }) })

const event = fc.oneof(
  { weight: 6, arbitrary: fc.constant('step' as const) },
  { weight: 1, arbitrary: fc.constantFrom('kill', 'flush', 'lose scripts', 'keep copy', 'go back') },
  { weight: 1, arbitrary: fc.constantFrom(...PROTOCOL_STEPS) },
)

describe('orders with its state in Redis', () => {
  let servers: RedisServers

  before(async function () {
    servers = await ownServer(this, () => startRedis())
  })
  after(() => servers.stop())

  it('gives the windows of the model, whatever Redis loses or takes back and wherever its worker dies', async function () {
    this.timeout(300_000)
    const url = servers.env.REDIS_URL
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(given, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(event),
        // Without a cache every batch reads what it touches.
        fc.constantFrom(0, 64 * 2 ** 20),
        async (parts, events, cacheBytes) => {
          const application = `run-${run++}`
          const state = await openState(url, { application })
          const driver = await driverOn(state, cacheBytes)
          const play = (next: string): void => {
            if (next === 'kill') driver.kill()
            else if (next === 'flush') cli(url, 'FLUSHALL')
            else if (next === 'lose scripts') cli(url, 'SCRIPT', 'FLUSH')
            else if (next === 'keep copy') keepCopy(url, application)
            else if (next === 'go back') goBackToCopy(url, application)
            else driver.crashAt(next as (typeof PROTOCOL_STEPS)[number])
          }
          try {
            const sent: GivenOrder[] = []
            for (const part of parts) {
              const values = part.map(({ minute, copyOf }) => {
                const value = (copyOf === null ? undefined : sent[copyOf]) ?? orderAt(minute, sent.length)
                sent.push(value)
                return value
              })
              await driver.send('orders', values)
              for (const next of events.take(4)) {
                if (next === 'step') await driver.step()
                else play(next)
              }
            }
            await driver.end()
            await driver.settle()
            assert.deepEqual(await windowsOf(driver), modelOf([sent]).windows)
          } finally {
            await driver.close()
            await state.close()
          }
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
  })
})

function driverOn(state: RedisState, cacheBytes: number): Promise<PipelineDriver> {
  const worker = { commitRecords: 3, commitIntervalMs: 0, cacheBytes }
  return PipelineDriver.open(orders, { startMs: START + 1440 * MINUTE, partitions: 2, worker, state })
}

function orderAt(minute: number, number: number): GivenOrder {
  return {
    order_id: `o-${number}`,
    customer_id: 'c-1',
    amount: number / 4,
    status: 'confirmed',
    timestamp: START + minute * MINUTE,
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
