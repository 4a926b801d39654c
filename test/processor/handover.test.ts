import assert from 'node:assert/strict'
import { partitionFor } from '../../log/partitioner.ts'
import type { Log } from '../../log/port.ts'
import { Worker, type WorkerOptions } from '../../processor/runtime/worker.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { copies, START } from './copies.ts'
import { WrappedState } from './wrapped-state.ts'

const PARTITIONS = 2

/** The first `count` ids whose records go to a partition. */
function idsOf(partition: number, count: number): string[] {
  const ids: string[] = []
  for (let i = 0; ids.length < count; i++) {
    if (partitionFor(Buffer.from(`e-${i}`), PARTITIONS) === partition) ids.push(`e-${i}`)
  }
  return ids
}

describe('a task that moves, or comes back', () => {
  let driver: PipelineDriver
  let state: WrappedState
  const workers: Worker[] = []

  beforeEach(async () => {
    driver = await PipelineDriver.open(copies, { partitions: PARTITIONS })
    state = new WrappedState(driver.state)
  })
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.close()))
    await driver.close()
  })

  function startWorker(options: Partial<WorkerOptions> = {}): Worker {
    const { log, plan, schemaIds, clock } = driver
    const worker = new Worker({ log, state, plan, schemaIds, clock, commitIntervalMs: 0, ...options })
    workers.push(worker)
    return worker
  }

  async function send(ids: readonly string[]): Promise<void> {
    await driver.send(
      'events',
      ids.map((id) => ({ id, happened: START })),
    )
  }

  async function rounds(count: number, members: readonly Worker[] = workers): Promise<void> {
    for (let i = 0; i < count; i++) await Promise.all(members.map((worker) => worker.runOnce(20)))
  }

  async function untilReady(worker: Worker): Promise<void> {
    while (!worker.isReady) await worker.runOnce(20)
  }

  async function untilProcessed(worker: Worker): Promise<void> {
    while ((await worker.runOnce(20)) > 0) await worker.flush()
    await worker.flush()
  }

  const partitionsOf = (worker: Worker): number[] => worker.tasks.map(({ partition }) => partition).sort()

  it('keeps its caches where nobody else had it: nothing is read from the state again', async () => {
    const first = startWorker()
    await rounds(1)
    await send([...idsOf(0, 50), ...idsOf(1, 50)])
    await untilProcessed(first)
    const second = startWorker()
    await rounds(4)
    assert.equal(partitionsOf(first).length, 1)
    const [kept] = partitionsOf(first)
    state.keysRead = 0
    await send(idsOf(kept!, 50))
    await rounds(3, [first])
    assert.equal(state.keysRead, 0)
    const [moved] = partitionsOf(second)
    await send(idsOf(moved!, 50))
    await rounds(3, [second])
    assert.equal(state.keysRead, 50)
    assert.equal((await driver.rows('d.copies')).length, 100)
  })

  it('drops its caches where somebody else had it in between', async () => {
    const first = startWorker()
    await rounds(1)
    await send(idsOf(0, 10))
    await untilProcessed(first)
    const second = startWorker()
    await rounds(4)
    const [moved] = partitionsOf(second)
    await second.close()
    workers.pop()
    await rounds(3, [first])
    assert.deepEqual(partitionsOf(first), [0, 1])
    state.keysRead = 0
    await send(idsOf(moved!, 5))
    await rounds(2, [first])
    // Only what the other process may have put there: its task, and only if it held something.
    assert.equal(state.keysRead, moved === 0 ? 5 : 0)
    await send(idsOf(0, 10))
    await rounds(2, [first])
    assert.equal((await driver.rows('d.copies')).length, moved === 0 ? 10 : 15)
  })

  it('lets the others run while it restores its state', async () => {
    const first = startWorker({ fetchBytes: 1_000_000, commitRecords: 100_000 })
    await rounds(1)
    await send([...idsOf(0, 11_000), ...idsOf(1, 10)])
    await untilProcessed(first)
    await first.close()
    workers.pop()
    driver.state.flush()

    const held = Promise.withResolvers<undefined>()
    const second = startWorker({ log: holdingRestore(driver.log, 'windows', 0, held.promise) })
    await rounds(3)
    assert.deepEqual(partitionsOf(second), [1])
    assert.equal(second.isReady, false)
    await send(['new-0', ...idsOf(1, 12)])
    await rounds(3)
    await second.flush()
    const before = await driver.rows('d.copies')
    assert.equal(before.length, 11_000 + 12 + (partitionFor(Buffer.from('new-0'), PARTITIONS) === 1 ? 1 : 0))
    held.resolve(undefined)
    await untilReady(second)
    await untilProcessed(second)
    assert.deepEqual(partitionsOf(second), [0, 1])
    assert.equal((await driver.rows('d.copies')).length, 11_000 + 12 + 1)
  })
})

/** The same log, where reading one partition of the topics that end so waits. */
function holdingRestore(log: Log, suffix: string, partition: number, until: Promise<undefined>): Log {
  return {
    admin: log.admin,
    transactionalProducer: (options) => log.transactionalProducer(options),
    idempotentProducer: () => log.idempotentProducer(),
    groupConsumer: (options) => log.groupConsumer(options),
    partitionReader: (place, from) => {
      const reader = log.partitionReader(place, from)
      if (!place.topic.endsWith(suffix) || place.partition !== partition) return reader
      return {
        get position() {
          return reader.position
        },
        read: async (maxBytes) => {
          await until
          return reader.read(maxBytes)
        },
        close: () => reader.close(),
      }
    },
    close: () => log.close(),
  }
}
