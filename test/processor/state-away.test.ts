import assert from 'node:assert/strict'
import { Worker, type WorkerOptions } from '../../processor/runtime/worker.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { copies, START } from './copies.ts'
import { WrappedState } from './wrapped-state.ts'

describe('while the state does not answer', () => {
  let driver: PipelineDriver
  let state: WrappedState
  let said: string[]
  const workers: Worker[] = []
  let number = 0

  beforeEach(async () => {
    driver = await PipelineDriver.open(copies, { partitions: 2 })
    state = new WrappedState(driver.state)
    said = []
    number = 0
  })
  afterEach(async () => {
    state.isAway = false
    await Promise.all(workers.splice(0).map((worker) => worker.close()))
    await driver.close()
  })

  function startWorker(options: Partial<WorkerOptions> = {}): Worker {
    const { log, plan, schemaIds, clock } = driver
    const report = (message: string): void => void said.push(message)
    const worker = new Worker({ log, state, plan, schemaIds, clock, commitIntervalMs: 0, report, ...options })
    workers.push(worker)
    return worker
  }

  async function send(count: number): Promise<void> {
    const events = Array.from({ length: count }, () => ({ id: `e-${++number}`, happened: START }))
    await driver.send('events', events)
  }

  async function untilWritten(rows: number): Promise<void> {
    while ((await driver.rows('d.copies')).length < rows) {
      await Promise.all(workers.map((worker) => worker.runOnce(20)))
    }
  }

  it('commits what it has processed, waits with the rest, says so once, and goes on when it answers', async () => {
    const worker = startWorker({ commitRecords: 20 })
    await worker.runOnce(20)
    state.isAway = true
    await send(30)
    await untilWritten(30)
    for (let i = 0; i < 5; i++) {
      await send(10)
      await worker.runOnce(20)
    }
    assert.ok(state.refused > 1)
    const [waiting, ...more] = said.filter((message) => message.includes('trying again'))
    assert.match(waiting!, /The state does not answer\. Nothing is lost/)
    assert.deepEqual(more, [])
    state.isAway = false
    await untilWritten(80)
    assert.equal((await driver.rows('d.copies')).length, 80)
    assert.equal(said.filter((message) => message.includes('going on')).length, 1)
  })

  it('processes nothing that needs a read, and each record once when it answers', async () => {
    const first = startWorker()
    await first.runOnce(20)
    await send(50)
    await untilWritten(50)
    await first.close()
    workers.pop()
    // Its caches are empty: whether an id is known has to be read.
    const second = startWorker()
    await second.runOnce(20)
    state.isAway = true
    number = 0
    await send(60)
    for (let i = 0; i < 5; i++) await second.runOnce(20)
    assert.equal((await driver.rows('d.copies')).length, 50)
    state.isAway = false
    await untilWritten(60)
    for (let i = 0; i < 3; i++) await second.runOnce(20)
    await second.flush()
    assert.equal((await driver.rows('d.copies')).length, 60)
  })

  it('gives its tasks up at once when the group changes, and opens them when it answers', async () => {
    const first = startWorker()
    await first.runOnce(20)
    state.isAway = true
    await send(10)
    await untilWritten(10)
    const second = startWorker()
    for (let i = 0; i < 5; i++) await Promise.all(workers.map((worker) => worker.runOnce(20)))
    assert.deepEqual([first.tasks.length, second.tasks.length], [0, 0])
    assert.equal(first.isReady, false)
    state.isAway = false
    while (!workers.every(({ isReady }) => isReady)) {
      await Promise.all(workers.map((worker) => worker.runOnce(20)))
    }
    assert.deepEqual([first.tasks.length, second.tasks.length], [1, 1])
    await send(10)
    await untilWritten(20)
    assert.equal((await driver.rows('d.copies')).length, 20)
  })

  it('can be stopped', async () => {
    const stop = new AbortController()
    const worker = startWorker()
    workers.pop()
    const running = worker.run(stop.signal)
    await send(5)
    while ((await driver.rows('d.copies')).length < 5) await new Promise((resolve) => setTimeout(resolve, 5))
    state.isAway = true
    await send(5)
    while ((await driver.rows('d.copies')).length < 10) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort()
    await running
  })
})
