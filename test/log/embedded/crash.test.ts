import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import { openLogOn, type EmbeddedLog } from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import { readAll, TestStorage } from './support.ts'

const KEYS = 4
const TINY = { compactMinBytes: 600, maxSegmentBytes: 400 }

/** What the log acknowledged, and what may or may not be there: the transaction that the crash hit. */
interface History {
  readonly acknowledged: { key: number; n: number }[]
  unsure: { key: number; n: number } | null
  start: number
}

/**
 * Writes until the storage dies at its `crashAt`th write: each transaction puts n under a key into
 * the compacted topic and both partitions of the plain one, and n + 1 as the group's offset.
 */
async function live(
  storage: TestStorage,
  crashAt: number,
  crashIsLate: boolean,
  keys: readonly number[],
): Promise<History> {
  const history: History = { acknowledged: [], unsure: null, start: 0 }
  let isDead = false
  storage.onWrite = async (_, apply) => {
    if (!isDead && storage.writes < crashAt) return apply()
    // Late: on disk, but the process dies before it hears of it.
    if (!isDead && crashIsLate) await apply()
    isDead = true
    throw new Error('crash')
  }
  const log = await openLogOn(storage, TINY, 0).catch(() => null)
  try {
    for (let n = 0; log !== null && n < keys.length; n++) await step(log, keys[n]!, n, history)
  } catch {
    // The crash.
  }
  await log?.close().catch(() => undefined)
  return history
}

async function step(log: EmbeddedLog, key: number, n: number, history: History): Promise<void> {
  if (n === 0) {
    await log.admin.createTopics([
      { name: 'plain', partitions: 2, cleanup: 'delete', retentionMs: -1 },
      { name: 'latest', partitions: 1, cleanup: 'compact', retentionMs: -1 },
    ])
  }
  const producer = log.transactionalProducer({ transactionalId: 'p' })
  await producer.init()
  const batches = [new BatchBuilder('plain', 0), new BatchBuilder('plain', 1), new BatchBuilder('latest', 0)]
  for (const batch of batches) batch.append(Buffer.from(`k${key}`), Buffer.from(String(n).padEnd(60)))
  producer.begin()
  const [offset] = await producer.send(batches)
  await producer.sendOffsets([{ topic: 'plain', partition: 0, offset: n + 1, metadata: '' }], {
    groupId: 'g',
    memberId: '',
    generation: -1,
  })
  history.unsure = { key, n }
  await producer.commit()
  history.acknowledged.push({ key, n })
  history.unsure = null
  if (n % 9 === 8) {
    await log.admin.deleteRecords([{ topic: 'plain', partition: 1, offset: offset! }])
    history.start = n
  }
  if (n % 4 === 3) await log.cleaned()
}

describe('the embedded log, when the process dies at any write', () => {
  it('reads, opened again, as what it acknowledged, the last transaction wholly there or not at all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 150 }),
        fc.boolean(),
        fc.array(fc.nat(KEYS - 1), { minLength: 1, maxLength: 40, size: 'max' }),
        async (crashAt, crashIsLate, keys) => {
          const inner = new MemoryStorage()
          const history = await live(new TestStorage(inner), crashAt, crashIsLate, keys)
          const log = await openLogOn(inner, TINY, 0)
          if ((await log.admin.listTopics()).length === 0) {
            assert.deepEqual(history.acknowledged, [])
            return
          }
          const [offset] = await log.admin.groupOffsets('g', [{ topic: 'plain', partition: 0 }])
          const there = [...history.acknowledged]
          if (history.unsure !== null && offset?.offset === history.unsure.n + 1) there.push(history.unsure)
          assert.equal(offset?.offset ?? 0, there.length)

          const values = async (partition: number): Promise<number[]> =>
            (await readAll(log, 'plain', partition)).map(({ value }) => Number(value))
          assert.deepEqual(
            await values(0),
            there.map(({ n }) => n),
          )
          const cut = await values(1)
          assert(cut.length <= there.length && cut.length >= there.length - history.start - 9)
          assert.deepEqual(
            cut,
            there.slice(there.length - cut.length).map(({ n }) => n),
          )

          await log.cleaned()
          const latest = new Map((await readAll(log, 'latest')).map(({ key, value }) => [key, Number(value)]))
          assert.deepEqual([...latest].sort(), [...new Map(there.map(({ key, n }) => [`k${key}`, n]))].sort())
          await log.close()
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })
})
