import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BatchBuilder } from '../../../log/batch.ts'
import { openEmbeddedLog, openLogOn } from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import { LogError } from '../../../log/errors.ts'
import { readAll, TestStorage } from './support.ts'

const CHILD = fileURLToPath(new URL('fixtures/fill-the-disk.ts', import.meta.url))

function one(value: string, topic = 't'): BatchBuilder {
  const builder = new BatchBuilder(topic, 0)
  builder.append(Buffer.from('k'), Buffer.from(value))
  return builder
}

async function openOn(storage: TestStorage) {
  const log = await openLogOn(storage, {}, 1_000_000)
  await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
  const producer = log.transactionalProducer({ transactionalId: 'p' })
  await producer.init()
  const values = async (): Promise<unknown[]> => (await readAll(log, 't')).map(({ value }) => value)
  return { log, producer, values }
}

const refuse = (): Promise<void> => Promise.reject(new Error('No space left on device'))

describe('the embedded log, when its storage refuses a write', () => {
  it('says so, shows nothing of it, and goes on once there is space', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log, producer, values } = await openOn(storage)
    producer.begin()
    await producer.send([one('lost')])
    await producer.sendOffsets([{ topic: 't', partition: 0, offset: 9, metadata: '' }], {
      groupId: 'g',
      memberId: '',
      generation: -1,
    })
    storage.onWrite = refuse
    await assert.rejects(producer.commit(), (error) => {
      assert(error instanceof LogError)
      assert.equal(error.code, 'STORAGE')
      assert.match(error.message, /No space left on device/)
      assert.match((error.cause as Error).message, /No space/)
      return true
    })
    await assert.rejects(log.idempotentProducer().send([one('lost too')]), { code: 'STORAGE' })
    assert.deepEqual(await values(), [])
    assert.deepEqual(await log.admin.groupOffsets('g', [{ topic: 't', partition: 0 }]), [null])
    const [offsets] = await log.admin.offsets([{ topic: 't', partition: 0 }])
    assert.equal(offsets!.stable, offsets!.end, 'nobody waits for what failed')

    storage.onWrite = (_, apply) => apply()
    await assert.rejects(async () => producer.begin(), { code: 'STORAGE' }, 'the producer is to be discarded')
    await log.idempotentProducer().send([one('after')])
    assert.deepEqual(await values(), ['after'])
    const reopened = await openLogOn(storage.inner, {}, 0)
    assert.deepEqual(
      (await readAll(reopened, 't')).map(({ value }) => value),
      ['after'],
    )
  })

  it('writes with the next write what an administrator asked for and was refused', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log } = await openOn(storage)
    for (const value of ['a', 'b', 'c']) await log.idempotentProducer().send([one(value)])
    storage.onWrite = refuse
    await assert.rejects(log.admin.deleteRecords([{ topic: 't', partition: 0, offset: 2 }]), {
      code: 'STORAGE',
    })
    storage.onWrite = (_, apply) => apply()
    const visible = (await readAll(log, 't')).map(({ value }) => value)
    await log.transactionalProducer({ transactionalId: 'any' }).init()
    const reopened = await openLogOn(storage.inner, {}, 0)
    assert.deepEqual(
      (await readAll(reopened, 't')).map(({ value }) => value),
      visible,
    )
  })

  it('fails only the writes that do not fit, not those that were to share a sync with them', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log, values } = await openOn(storage)
    storage.onWrite = (changes, apply) => {
      const bytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
      return bytes > 10_000 ? refuse() : apply()
    }
    const outcomes = await Promise.allSettled(
      ['a', 'b'.repeat(20_000), 'c'].map((value) => log.idempotentProducer().send([one(value)])),
    )
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.deepEqual(await values(), ['a', 'c'])
  })

  it('keeps a partition readable up to what was on disk, when one fails in the middle', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log, values } = await openOn(storage)
    const producer = log.idempotentProducer()
    await producer.send([one('before')])
    storage.onWrite = refuse
    await assert.rejects(producer.send([one('lost')]), { code: 'STORAGE' })
    storage.onWrite = (_, apply) => apply()
    const reader = log.partitionReader({ topic: 't', partition: 0 }, 0)
    await reader.read(1_000)
    assert.equal(await reader.read(1_000), null)
    await producer.send([one('after')])
    assert.equal((await reader.read(1_000))!.valueAt(0)!.toString(), 'after')
    assert.deepEqual(await values(), ['before', 'after'])
  })

  it('acknowledges nothing, and shows nothing, before the storage has it', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log, producer, values } = await openOn(storage)
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    storage.onWrite = async (_, apply) => {
      await held
      await apply()
    }
    producer.begin()
    await producer.send([one('slow')])
    let acknowledged = false
    const committed = producer.commit().then(() => (acknowledged = true))
    const sent = log.idempotentProducer().send([one('behind')])
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(acknowledged, false)
    assert.deepEqual(await values(), [])
    release()
    await Promise.all([committed, sent])
    assert.deepEqual(await values(), ['slow', 'behind'])
  })

  it('lets commits that come together share a sync', async () => {
    const storage = new TestStorage(new MemoryStorage())
    const { log } = await openOn(storage)
    const before = storage.writes
    await Promise.all(Array.from({ length: 100 }, (_, i) => log.idempotentProducer().send([one(String(i))])))
    assert(storage.writes - before <= 3, `${storage.writes - before} writes`)
  })

  it('refuses a transaction that would not fit into memory, and keeps what it had', async () => {
    const log = await openLogOn(new MemoryStorage(), { maxTransactionBytes: 10_000 }, 0)
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const producer = log.transactionalProducer({ transactionalId: 'p' })
    await producer.init()
    producer.begin()
    await producer.send([one('x'.repeat(6_000))])
    await assert.rejects(producer.send([one('y'.repeat(6_000))]), (error) => {
      assert(error instanceof LogError && error.code === 'RECORD_TOO_LARGE')
      assert.match(error.message, /maxTransactionBytes/)
      return true
    })
    await producer.commit()
    assert.equal((await readAll(log, 't')).length, 1)
  })

  it('is no reason to crash: a real file that may not grow gives STORAGE, and keeps what was acknowledged', async function () {
    // Nothing there limits the size of a file.
    if (process.platform === 'win32') this.skip()
    const directory = await mkdtemp(join(tmpdir(), 'millrace-full-'))
    try {
      // The file may have 8 MiB, in blocks of 1,024 bytes; writes beyond fail instead of ending the process.
      const script = `trap '' XFSZ; ulimit -f 8192; exec "$0" "$@"`
      const child = spawnSync('bash', ['-c', script, process.execPath, CHILD, directory], {
        encoding: 'utf8',
      })
      assert.equal(child.status, 0, child.stderr)
      const { acknowledged, refused, codes, readable } = JSON.parse(child.stdout) as Record<
        string,
        number
      > & {
        codes: string[]
      }
      assert(acknowledged! > 3 && refused! >= 5)
      assert.deepEqual(codes, ['STORAGE'])
      assert.equal(readable, acknowledged)
      const log = await openEmbeddedLog({ directory })
      assert.equal((await readAll(log, 't')).length, acknowledged)
      await log.idempotentProducer().send([one('after')])
      assert.equal((await readAll(log, 't')).at(-1)!.value, 'after')
      await log.close()
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('says which directory cannot be opened', async () => {
    await assert.rejects(openEmbeddedLog({ directory: '/dev/null/nowhere' }), (error) => {
      assert(error instanceof LogError && error.code === 'STORAGE')
      assert.match(error.message, /\/dev\/null\/nowhere/)
      return true
    })
  })
})
