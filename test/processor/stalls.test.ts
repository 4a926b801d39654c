import assert from 'node:assert/strict'
import { PROTOCOL_STEPS } from '../../processor/runtime/protocol.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import { PipelineDriver, type DriverOptions } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import { count } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table, topic } from '../../schemas/destinations.ts'
import type { Duration } from '../../schemas/duration.ts'
import { string, timestamp } from '../../schemas/schema.ts'
import { WrappedState } from './wrapped-state.ts'

const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000
const LOOK_MS = 1_000

const event = contract(
  'Event',
  { id: string(), happened: timestamp() },
  { id: ['id'], key: 'id', eventTime: 'happened', disorder: 0 },
)

/** @param after null: nobody asks */
function watchedFor(after: Duration | null): Pipeline {
  return definePipeline({
    name: 'watched',
    sources: { events: source('events', event) },
    build({ events }) {
      events.to(table('d.copies'))
      if (after !== null) events.stalls('events-stalled', { after }).to(topic('stalls'))
    },
  })
}

const watched = watchedFor('10m')

const counted = definePipeline({
  name: 'watched',
  sources: { events: source('events', event) },
  build({ events }) {
    const daily = events.stalls('events-stalled', { after: '10m' }).window(tumbling('1d'))
    daily.aggregate('daily', { stalls: count() }, { emit: 'updates' }).to(table('d.daily'))
  },
})

describe('a source that stalls', () => {
  let driver: PipelineDriver

  async function start(options: DriverOptions = {}, pipeline = watched): Promise<void> {
    driver = await PipelineDriver.open(pipeline, { startMs: START, ...options })
  }
  afterEach(() => driver.close())

  const arrive = (id: string): Promise<number> =>
    driver.send('events', [{ id, happened: START + Number(id.slice(1)) }])
  const stalls = (): Promise<Record<string, unknown>[]> => driver.rows('stalls')

  async function silence(minutes: number): Promise<void> {
    await driver.pass(minutes * MINUTE)
    await driver.settle()
  }

  it('is told of once, with since when and by when', async () => {
    await start()
    await arrive('e1')
    await driver.settle()
    await silence(9)
    assert.deepEqual(await stalls(), [])
    await silence(5)
    assert.deepEqual(await stalls(), [{ source: 'events', since: START, noticed_at: START + 10 * MINUTE }])
    await silence(60)
    assert.equal((await stalls()).length, 1)
    assert.equal(driver.counters()['events-stalled.stalls'], 1)
  })

  it('is told of again when it came back and stalls again', async () => {
    await start()
    await arrive('e1')
    await silence(15)
    await arrive('e2')
    await silence(15)
    assert.deepEqual(
      (await stalls()).map(({ since }) => since),
      [START, START + 15 * MINUTE],
    )
  })

  it('does not stall while heartbeats come, though no record does', async () => {
    await start()
    await arrive('e1')
    for (let minute = 0; minute < 60; minute++) {
      await silence(1)
      // The same event, dropped as a copy: its heartbeat stays.
      await arrive('e1')
    }
    assert.deepEqual(await stalls(), [])
    assert.equal((await driver.rows('d.copies')).length, 1)
  })

  it('does not stall when its input has ended, but may when it has begun again', async () => {
    await start()
    await arrive('e1')
    await driver.end()
    await silence(60)
    assert.deepEqual(await stalls(), [])
    await arrive('e2')
    await silence(15)
    assert.equal((await stalls()).length, 1)
  })

  it('does not stall when its input has ended, also over a restart', async () => {
    await start()
    await arrive('e1')
    await driver.end()
    await driver.settle()
    driver.kill()
    await silence(15)
    assert.deepEqual(await stalls(), [])
  })

  it('does not stall where it was silent before anybody asked', async () => {
    await start({}, watchedFor(null))
    await arrive('e1')
    await driver.settle()
    driver = await PipelineDriver.open(watched, { after: driver })
    await silence(15)
    assert.deepEqual(await stalls(), [])
    await arrive('e2')
    await silence(15)
    assert.equal((await stalls()).length, 1)
  })

  it('is counted by an aggregate like any other row, updates too', async () => {
    await start({}, counted)
    await arrive('e1')
    await silence(15)
    await arrive('e2')
    await silence(15)
    assert.deepEqual(
      (await driver.rows('d.daily')).map(({ stalls }) => stalls),
      [1, 2],
    )
  })

  it('is not told of before it was ever heard of', async () => {
    await start()
    await silence(60)
    assert.deepEqual(await stalls(), [])
  })

  for (const step of PROTOCOL_STEPS.filter((step) => step.startsWith('commit'))) {
    it(`is told of once where the process dies right after ${step}`, async () => {
      await start()
      await arrive('e1')
      await driver.settle()
      driver.crashAt(step)
      await silence(12)
      await silence(30)
      assert.equal((await stalls()).length, 1)
    })
  }

  it('is told of once over a restart', async () => {
    await start()
    await arrive('e1')
    await silence(15)
    driver.kill()
    await silence(60)
    assert.equal((await stalls()).length, 1)
  })

  it('is not told of when the process, or the machine, stood still for an hour', async () => {
    await start()
    await arrive('e1')
    await driver.settle()
    for (let times = 0; times < 5; times++) {
      driver.clock.advance(60 * MINUTE)
      for (let polls = 0; polls < 3; polls++) await driver.step()
    }
    await arrive('e2')
    await driver.settle()
    assert.deepEqual(await stalls(), [])
  })

  it('is not told of while the state is away, which is why nothing is taken in', async () => {
    driver = await PipelineDriver.open(watched, { startMs: START })
    const state = new WrappedState(driver.state)
    const { log, plan, schemaIds, clock } = driver
    const worker = new Worker({ log, state, plan, schemaIds, clock, commitIntervalMs: 0, cacheBytes: 0 })
    for (let i = 0; i < 3; i++) await worker.runOnce(0)
    await arrive('e1')
    for (let i = 0; i < 3; i++) await worker.runOnce(0)
    await worker.flush()
    state.isAway = true
    await arrive('e2')
    for (let passed = 0; passed < 30 * MINUTE; passed += LOOK_MS) {
      clock.advance(LOOK_MS)
      await worker.runOnce(0)
    }
    state.isAway = false
    const deadlineMs = Date.now() + 30_000
    while ((await driver.rows('d.copies')).length < 2 && Date.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      await worker.runOnce(1)
      await worker.flush()
    }
    assert.equal((await driver.rows('d.copies')).length, 2)
    assert.deepEqual(await stalls(), [])
    await worker.close()
  })

  it('is not told of while the source is held back by us', async () => {
    await start({ partitions: 1 })
    const { log, plan, schemaIds, clock, state } = driver
    let isHeld = true
    const parts = { log, plan, schemaIds, clock, state, commitIntervalMs: 0 }
    const worker = new Worker({ ...parts, isInputHeld: () => isHeld })
    const looks = async (minutes: number): Promise<void> => {
      for (let passed = 0; passed < minutes * MINUTE; passed += LOOK_MS) {
        clock.advance(LOOK_MS)
        await worker.runOnce(0)
      }
    }
    await worker.runOnce(0)
    await arrive('e1')
    await looks(30)
    assert.deepEqual(await stalls(), [])
    isHeld = false
    await looks(11)
    assert.equal((await stalls()).length, 1)
    await worker.close()
  })

  it('is told of by whoever has it, and not by a process that lost it with only that to commit', async () => {
    driver = await PipelineDriver.open(watched, { startMs: START, partitions: 1 })
    const { log, plan, schemaIds, clock, state } = driver
    const worker = (instance: string, commitIntervalMs: number): Worker =>
      new Worker({ log, state, plan, schemaIds, clock, commitIntervalMs, instance })
    const zombie = worker('zombie', 24 * 60 * MINUTE)
    for (let i = 0; i < 3; i++) await zombie.runOnce(0)
    await arrive('e1')
    for (let i = 0; i < 3; i++) await zombie.runOnce(0)
    await zombie.flush()
    const looks = async (worker: Worker, minutes: number): Promise<void> => {
      for (let passed = 0; passed < minutes * MINUTE; passed += LOOK_MS) {
        clock.advance(LOOK_MS)
        await worker.runOnce(0)
      }
    }
    await looks(zombie, 11)
    assert.deepEqual(await stalls(), [], 'it has not committed yet')
    // The group lets go of it.
    clock.advance(MINUTE)
    const heir = worker('heir', 0)
    for (let i = 0; i < 3; i++) await heir.runOnce(0)
    assert.equal(heir.tasks.length, 1)
    assert.equal(await zombie.flush(), false, 'its commit is refused')
    assert.deepEqual(await stalls(), [])
    await looks(heir, 11)
    assert.equal((await stalls()).length, 1)
    await heir.close()
  })
})
