import assert from 'node:assert/strict'
import { LogError, type LogErrorCode } from '../../log/errors.ts'
import type { Log, TransactionalProducer } from '../../log/port.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { copies, START } from './copies.ts'

type Call = 'send' | 'sendOffsets' | 'commit'

/** The same log, where `before` is awaited before one kind of call of its transactional producers. */
function interrupted(log: Log, call: Call, before: () => Promise<void>): Log {
  const producerOf = (producer: TransactionalProducer): TransactionalProducer => ({
    init: () => producer.init(),
    begin: () => producer.begin(),
    send: async (batches) => {
      if (call === 'send') await before()
      return producer.send(batches)
    },
    sendOffsets: async (offsets, group) => {
      if (call === 'sendOffsets') await before()
      return producer.sendOffsets(offsets, group)
    },
    commit: async () => {
      if (call === 'commit') await before()
      return producer.commit()
    },
    abort: () => producer.abort(),
    close: () => producer.close(),
  })
  return {
    admin: log.admin,
    transactionalProducer: (options) => producerOf(log.transactionalProducer(options)),
    idempotentProducer: () => log.idempotentProducer(),
    groupConsumer: (options) => log.groupConsumer(options),
    partitionReader: (partition, from) => log.partitionReader(partition, from),
    close: () => log.close(),
  }
}

describe('a worker', () => {
  let driver: PipelineDriver
  let number = 0

  beforeEach(async () => {
    driver = await PipelineDriver.open(copies, { partitions: 1 })
  })
  afterEach(() => driver.close())

  async function send(): Promise<void> {
    await driver.send('events', [{ id: `e-${++number}`, happened: START }])
  }

  function workerOn(log: Log): Worker {
    const { state, plan, schemaIds, clock } = driver
    return new Worker({ log, state, plan, schemaIds, clock, instance: 'test', commitIntervalMs: 0 })
  }

  const failures: readonly (readonly [Call, LogErrorCode])[] = [
    ['send', 'STORAGE'],
    ['sendOffsets', 'STALE_GENERATION'],
    ['commit', 'OUTCOME_UNKNOWN'],
  ]
  for (const [call, code] of failures) {
    it(`opens its tasks again, and goes on, when ${call} fails with ${code} while it polls`, async () => {
      const held = Promise.withResolvers<undefined>()
      const reached = Promise.withResolvers<undefined>()
      let isArmed = false
      const log = interrupted(driver.log, call, async () => {
        if (!isArmed) return
        isArmed = false
        reached.resolve(undefined)
        await held.promise
        throw new LogError(code, 'injected')
      })
      const worker = workerOn(log)
      await worker.runOnce(0)
      isArmed = true
      await send()
      await worker.runOnce(0)
      await reached.promise
      const round = worker.runOnce(1_000)
      await send()
      held.resolve(undefined)
      await round
      for (let i = 0; i < 5; i++) await worker.runOnce(100)
      await worker.flush()
      assert.equal((await driver.rows('d.copies')).length, 2)
      await worker.close()
    })
  }
})
