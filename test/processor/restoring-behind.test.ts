import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { BatchBuilder } from '../../log/batch.ts'
import type { Log, TransactionalProducer } from '../../log/port.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import { MemoryState } from '../../processor/state/memory/memory-state.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { deposedLeader } from '../support/altered-log.ts'
import { copies, START } from './copies.ts'
import { WrappedState } from './wrapped-state.ts'

describe('tasks that are restored behind those that run', () => {
  let driver: PipelineDriver
  afterEach(() => driver.close())

  const events = (from: number, until: number): { id: string; happened: number }[] =>
    Array.from({ length: until - from }, (_, i) => ({ id: `e-${from + i}`, happened: START }))
  const ids = async (): Promise<string[]> => (await driver.rows('d.copies')).map((row) => String(row['id']))
  const turns = async (worker: Worker, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await worker.runOnce(5)
  }

  /** A transaction that somebody has left open in the first task's `-windows`: its restore waits for it. */
  async function hanging(): Promise<TransactionalProducer> {
    const zombie = driver.log.transactionalProducer({ transactionalId: 'zombie' })
    await zombie.init()
    zombie.begin()
    const batch = new BatchBuilder(driver.plan.subTopologies[0]!.windowsTopic, 0)
    batch.append(Buffer.alloc(20), Buffer.from('x'))
    await zombie.send([batch])
    return zombie
  }

  it('lose no record when the state of the others is away for a moment meanwhile', async () => {
    driver = await PipelineDriver.open(copies, { partitions: 2 })
    const { log, plan, schemaIds, clock } = driver
    const state = new WrappedState(driver.state)
    const worker = new Worker({
      ...{ log, state, plan, schemaIds, clock },
      ...{ commitIntervalMs: 0, cacheBytes: 0, instance: 'x' },
    })
    await turns(worker, 1)
    await driver.send('events', events(0, 20))
    await turns(worker, 8)
    await worker.flush()

    const zombie = await hanging()
    // The next commit fails, since the worker's id was initialised elsewhere: all tasks are opened again.
    await log.transactionalProducer({ transactionalId: `${plan.application}-process-x` }).init()
    await driver.send('events', events(20, 40))
    await turns(worker, 6)
    assert.equal(worker.restoring, 1, 'one waits, the other runs')
    await driver.send('events', events(40, 60))
    state.isAway = true
    await turns(worker, 4)
    assert.ok(state.refused > 0)
    state.isAway = false
    for (let i = 0; i < 30; i++) {
      await turns(worker, 1)
      await sleep(30)
    }
    await driver.send('events', events(60, 80))
    await zombie.abort()
    // It is ready, and the next round polls before it hears of it.
    await sleep(50)
    const deadlineMs = Date.now() + 30_000
    while ((await ids()).length < 80 && Date.now() < deadlineMs) {
      await turns(worker, 1)
      await sleep(2)
      await worker.flush()
    }
    for (let i = 0; i < 10; i++) await turns(worker, 1)
    await worker.flush()
    assert.deepEqual(
      (await ids()).sort(),
      events(0, 80)
        .map(({ id }) => id)
        .sort(),
    )
    await worker.close()
  })
})

describe('a leader of the changelog that was deposed, and has not heard of it', () => {
  let driver: PipelineDriver
  afterEach(() => driver.close())

  const events = (from: number, until: number): { id: string; happened: number }[] =>
    Array.from({ length: until - from }, (_, i) => ({ id: `e-${from + i}`, happened: START }))

  for (const [what, times] of [
    ['is asked again, and nothing counts twice', 3],
    ['does not pass where it goes on so', Infinity],
  ] as const) {
    it(`tells an old end: it ${what}`, async () => {
      driver = await PipelineDriver.open(copies, { partitions: 1 })
      const { log, plan, schemaIds, clock } = driver
      const { windowsTopic } = plan.subTopologies[0]!
      const start = (to: Log): Worker =>
        new Worker({ log: to, state: new MemoryState(), plan, schemaIds, clock, commitIntervalMs: 0 })
      const turns = async (worker: Worker, count: number): Promise<void> => {
        for (let i = 0; i < count; i++) await worker.runOnce(5)
      }
      const first = start(log)
      await turns(first, 2)
      await driver.send('events', events(0, 20))
      await turns(first, 5)
      await first.flush()
      const [old] = await log.admin.offsets([{ topic: windowsTopic, partition: 0 }])
      await driver.send('events', events(20, 40))
      await turns(first, 5)
      await first.close()

      const second = start(deposedLeader(log, windowsTopic, old!, times))
      if (times === Infinity) {
        await assert.rejects(turns(second, 3), {
          code: 'CHANGELOG_LOST',
          message: /up to \d+, but the topic ends at/,
        })
        return
      }
      await turns(second, 3)
      await driver.send('events', events(0, 40))
      await turns(second, 6)
      await second.close()
      assert.equal((await driver.rows('d.copies')).length, 40)
    })
  }
})
