import assert from 'node:assert/strict'
import { BatchBuilder } from '../../../log/batch.ts'
import { createMemoryLog, openLogOn, type EmbeddedLog } from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import type { TransactionalProducer } from '../../../log/port.ts'
import { ManualClock, readAll } from './support.ts'

const NOBODY = { groupId: 'g', memberId: '', generation: -1 }

describe('transactions of the embedded log', () => {
  let clock: ManualClock
  let log: EmbeddedLog

  beforeEach(async () => {
    clock = new ManualClock()
    log = await createMemoryLog({ clock })
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
  })
  afterEach(() => log.close())

  async function begun(transactionTimeoutMs: number): Promise<TransactionalProducer> {
    const producer = log.transactionalProducer({ transactionalId: 'p', transactionTimeoutMs })
    await producer.init()
    producer.begin()
    const builder = new BatchBuilder('t', 0)
    builder.append(null, Buffer.from('v'))
    await producer.send([builder])
    return producer
  }

  it('that are too old cannot commit, though nobody has looked at them yet', async () => {
    const producer = await begun(1_000)
    clock.advance(1_000)
    await assert.rejects(producer.commit(), { code: 'TRANSACTION_TIMED_OUT' })
    await assert.rejects(producer.abort(), { code: 'TRANSACTION_TIMED_OUT' })
    assert.throws(() => producer.begin(), { code: 'TRANSACTION_TIMED_OUT' })
    assert.deepEqual(await readAll(log, 't'), [])
  })

  it('count their age from the first record, and start anew each time', async () => {
    const producer = log.transactionalProducer({ transactionalId: 'p', transactionTimeoutMs: 1_000 })
    await producer.init()
    for (let i = 0; i < 3; i++) {
      producer.begin()
      clock.advance(5_000)
      const builder = new BatchBuilder('t', 0)
      builder.append(null, Buffer.from('v'))
      await producer.send([builder])
      clock.advance(999)
      await producer.commit()
    }
    assert.equal((await readAll(log, 't')).length, 3)
    assert.equal(log.stats().openTransactions, 0)
  })

  it('release, by their time-out, who waits for the offsets that they hold', async () => {
    const producer = await begun(1_000)
    await producer.sendOffsets([{ topic: 't', partition: 0, offset: 1, metadata: '' }], NOBODY)
    const consumer = log.groupConsumer({
      groupId: 'g',
      topics: [['t']],
      onAssign: async () => undefined,
      onRevoke: async () => undefined,
    })
    const waiting = consumer.committed([{ topic: 't', partition: 0 }])
    clock.advance(1_000)
    log.checkTimeouts()
    assert.deepEqual(await waiting, [null])
    await consumer.close()
  })

  it('end by a timer of their own, where nothing else looks', async () => {
    const real = await createMemoryLog()
    await real.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const producer = real.transactionalProducer({ transactionalId: 'p', transactionTimeoutMs: 20 })
    await producer.init()
    producer.begin()
    const consumer = real.groupConsumer({
      groupId: 'g',
      topics: [['t']],
      onAssign: async () => undefined,
      onRevoke: async () => undefined,
    })
    await producer.sendOffsets([{ topic: 't', partition: 0, offset: 1, metadata: '' }], NOBODY)
    const polled = consumer.poll(1, 10_000)
    assert.deepEqual(await consumer.committed([{ topic: 't', partition: 0 }]), [null])
    consumer.wakeup()
    await polled
    await real.close()
  })

  it('of ids that nobody has used for a week leave no trace', async () => {
    const storage = new MemoryStorage()
    let reopened = await openLogOn(storage, { clock }, 0)
    const ids = (): number =>
      [...storage.entries()].filter(([key]) => key.startsWith('transactional-id')).length
    for (let i = 0; i < 5; i++) await reopened.transactionalProducer({ transactionalId: `run-${i}` }).init()
    assert.equal(ids(), 5)
    await reopened.close()
    clock.advance(8 * 24 * 3_600_000)
    reopened = await openLogOn(storage, { clock }, 0)
    await reopened.transactionalProducer({ transactionalId: 'run-5' }).init()
    assert.equal(ids(), 1)
    await reopened.close()
  })

  it('are held for a limited size and told in the figures', async () => {
    const before = log.stats().bytesWritten
    const producer = await begun(1_000)
    assert.equal(log.stats().openTransactions, 1)
    await producer.commit()
    assert.equal(log.stats().openTransactions, 0)
    assert(log.stats().bytesWritten > before)
  })

  it('of a closed log are refused', async () => {
    const producer = await begun(1_000)
    await log.close()
    await assert.rejects(producer.commit(), { code: 'CLOSED' })
    await assert.rejects(log.idempotentProducer().send([]), { code: 'CLOSED' })
    await assert.rejects(log.admin.listTopics(), { code: 'CLOSED' })
    await assert.rejects(log.partitionReader({ topic: 't', partition: 0 }, 0).read(1), { code: 'CLOSED' })
  })
})

describe('an embedded log of another format', () => {
  it('is refused, with what to do', async () => {
    const storage = new MemoryStorage()
    await (await openLogOn(storage, {}, 0)).close()
    await storage.write([{ entry: 'format', value: '99' }])
    await assert.rejects(openLogOn(storage, {}, 0), { code: 'STORAGE', message: /format 99/ })
  })
})
