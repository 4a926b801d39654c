import assert from 'node:assert/strict'
import { setUp } from '../../processor/runtime/setup.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { topologyHash } from '../../processor/topology/diff.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import { planPipeline } from '../../processor/topology/plan.ts'
import { count } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table } from '../../schemas/destinations.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { string, timestamp } from '../../schemas/schema.ts'

const START = Date.UTC(2026, 0, 1)
const PARTITIONS = 2
const event = contract(
  'Event',
  { id: string(), happened: timestamp() },
  { id: ['id'], key: 'id', eventTime: 'happened', disorder: 0 },
)

/** The later version counts as well. */
function copies(isLater: boolean): Pipeline {
  return definePipeline({
    name: 'copies',
    sources: { events: source('events', event) },
    build({ events }) {
      events.to(table('d.copies'))
      const windows = tumbling('5m', { grace: 0 })
      if (isLater) events.window(windows).aggregate('counts', { count: count() }).to(table('d.counts'))
    },
  })
}

async function untilItHasAll(worker: Worker): Promise<void> {
  while (worker.tasks.length < PARTITIONS) await worker.runOnce(20)
}

describe('processes of one application with two topologies', () => {
  it('the later waits, says for whom, and goes on where the other ends when that has gone', async () => {
    const driver = await PipelineDriver.open(copies(false), { partitions: PARTITIONS })
    const later = planPipeline(copies(true), { partitions: PARTITIONS })
    const { log, state, clock } = driver
    const said: string[] = []
    const options = { log, state, clock, commitIntervalMs: 0 }
    const running = new Worker({ ...options, plan: driver.plan, schemaIds: driver.schemaIds })
    const registry = new EmbeddedRegistry({
      load: () => Promise.resolve([]),
      append: () => Promise.resolve(),
    })
    const schemaIds = await setUp(log, registry, later)
    const waiting = new Worker({
      ...options,
      plan: later,
      schemaIds,
      report: (message) => said.push(message),
    })
    const send = (id: string): Promise<unknown> => driver.send('events', [{ id, happened: START }])

    await untilItHasAll(running)
    for (let i = 0; i < 4; i++) await Promise.all([running, waiting].map((worker) => worker.runOnce(20)))
    assert.equal(running.tasks.length, PARTITIONS)
    assert.equal(waiting.tasks.length, 0)
    const [message] = said.filter((text) => text.startsWith('Waiting'))
    assert(message?.includes(topologyHash(driver.plan)) && message.includes('copies'), said.join('\n'))

    await send('first')
    while ((await running.runOnce(20)) === 0);
    await running.close()
    await untilItHasAll(waiting)
    await send('second')
    while ((await waiting.runOnce(20)) === 0);
    await waiting.flush()
    const ids = (await driver.rows('d.copies')).map((row) => row['id'])
    assert.deepEqual(ids, ['first', 'second'])
    await waiting.close()
    await driver.close()
  })
})
