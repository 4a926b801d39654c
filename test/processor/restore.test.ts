import assert from 'node:assert/strict'
import { systemTimer } from '../../config/clock.ts'
import { BatchBuilder } from '../../log/batch.ts'
import type { Log } from '../../log/port.ts'
import { SimulatedCluster } from '../../log/simulated/cluster.ts'
import { connect } from '../../log/simulated/simulated-log.ts'
import type { Claim } from '../../processor/runtime/open.ts'
import {
  encodeTaskRecord,
  OPENED_RECORD_KEY,
  TASK_RECORD_KEY,
  type TaskRecord,
} from '../../processor/runtime/progress.ts'
import { lookAtEnds, restoreTask, type Restored } from '../../processor/runtime/restore.ts'
import { segmentKey } from '../../processor/state/keys.ts'
import { MemoryState } from '../../processor/state/memory/memory-state.ts'
import type { TaskState } from '../../processor/state/port.ts'
import { CalmWire } from '../log/simulated/calm-wire.ts'

const TASK = 'sums_0'
const CHANGELOG = 'sums-changelog'
const WINDOWS = 'sums-windows'
const STORE = 7

type Segments = TaskRecord['segments'][string]

function recordOf(segments: Segments, windowsEnd: number): Buffer {
  const rest = { version: 1, topologyHash: 'x', inputs: [], windows: {}, counters: {} } as const
  return encodeTaskRecord({ ...rest, segments: { [STORE]: segments }, windowsEnd })
}

describe('the state that a restore leaves', () => {
  let wire: CalmWire
  let log: Log
  let state: MemoryState

  beforeEach(async () => {
    wire = new CalmWire()
    // As a client sees what a broker has: all at once.
    log = connect(new SimulatedCluster(wire, { joinsBatches: true }), wire)
    state = new MemoryState()
    await log.admin.createTopics(
      [CHANGELOG, WINDOWS].map((name) => ({
        name,
        partitions: 1,
        cleanup: 'compact' as const,
        retentionMs: -1,
      })),
    )
  })
  afterEach(async () => {
    await log.close()
    wire.stop()
  })

  /** @returns the offset */
  async function write(topic: string, key: Buffer, value: string | Buffer | null): Promise<number> {
    const batch = new BatchBuilder(topic, 0)
    batch.append(key, value === null ? null : Buffer.from(value))
    return (await log.idempotentProducer().send([batch]))[0]!
  }

  const row = (segmentMs: number, key: string, value: string | null): Promise<number> =>
    write(WINDOWS, segmentKey(STORE, segmentMs, key), value)

  /** Whoever wrote the opened record at `token` restores. */
  async function restore(
    token: number,
    maxRowsBytes: number,
    { nowMs = (): number => 0, signal = new AbortController().signal } = {},
  ): Promise<Restored & { state: TaskState }> {
    const owner = { clusterId: 'simulated', topicId: 'topics', token }
    const taken = await state.takeOver(TASK, owner)
    const sub = { name: 'sums', changelogTopic: CHANGELOG, windowsTopic: WINDOWS, inputTopic: 'events' }
    const claim = { id: TASK, sub, partition: 0, committed: null, inputTopicId: '', owner, state: taken }
    const [ends] = await lookAtEnds([claim as unknown as Claim], log)
    const restored = await restoreTask(claim as unknown as Claim, ends!, {
      log,
      clock: { nowMs },
      timer: systemTimer,
      signal,
      maxRowsBytes,
      onProgress: () => undefined,
      report: () => undefined,
    })
    return { ...restored, state: taken }
  }

  async function valueOf(task: TaskState, segmentMs: number, key: string): Promise<string | null> {
    const [value] = await task.readMany([segmentKey(STORE, segmentMs, key)])
    return value?.toString() ?? null
  }

  for (const [room, maxRowsBytes] of [
    ['much', 2 ** 20],
    ['no', 1],
  ] as const) {
    it(`lacks nothing of what a zombie saw before its marker, with ${room} room for rows`, async () => {
      const zombie = await write(CHANGELOG, OPENED_RECORD_KEY, '{}')
      await row(0, 'a', '1')
      await write(CHANGELOG, TASK_RECORD_KEY, recordOf({ 0: 0 }, 1))
      // Committed by another: its marker stands in -windows, and not yet where its task record is.
      await row(1_000, 'b', '2')
      const first = await restore(zombie, maxRowsBytes)
      assert.equal(first.checkpoint.windows, 1)
      assert.equal(await valueOf(first.state, 0, 'a'), '1')

      await write(CHANGELOG, TASK_RECORD_KEY, recordOf({ 0: 0, 1_000: 1 }, 2))
      const heir = await write(CHANGELOG, OPENED_RECORD_KEY, '{}')
      const second = await restore(heir, maxRowsBytes)
      assert.equal(second.checkpoint.windows, 2)
      assert.equal(await valueOf(second.state, 0, 'a'), '1')
      assert.equal(await valueOf(second.state, 1_000, 'b'), '2')
    })

    it(`has the last value of each key, and nothing of closed segments, with ${room} room for rows`, async () => {
      for (const value of ['1', '22', '3']) {
        await row(0, 'closed', value)
        await row(1_000, 'a', `a${value}`)
        await row(1_000, 'b', value)
      }
      await row(1_000, 'b', null)
      await write(CHANGELOG, TASK_RECORD_KEY, recordOf({ 1_000: 1 }, 10))
      const { state: task, applied } = await restore(
        await write(CHANGELOG, OPENED_RECORD_KEY, '{}'),
        maxRowsBytes,
      )
      assert.equal(applied, 10)
      assert.equal(await valueOf(task, 1_000, 'a'), 'a3')
      assert.equal(await valueOf(task, 1_000, 'b'), null)
      assert.equal(await valueOf(task, 0, 'closed'), null)
    })
  }

  it('is kept as far as it had come some seconds before it was given up', async () => {
    const rows = 20_000
    const batch = new BatchBuilder(WINDOWS, 0)
    // More than is read at a time.
    for (let i = 0; i < rows; i++) batch.append(segmentKey(STORE, 0, 'a'), Buffer.alloc(1_000, 'x'))
    await log.idempotentProducer().send([batch])
    await write(CHANGELOG, TASK_RECORD_KEY, recordOf({ 0: 0 }, rows))
    const token = await write(CHANGELOG, OPENED_RECORD_KEY, '{}')
    const givenUp = new AbortController()
    let looks = 0
    const nowMs = (): number => {
      if (++looks > 5) givenUp.abort()
      return looks * 3_000
    }
    await assert.rejects(restore(token, 2 ** 30, { nowMs, signal: givenUp.signal }), { name: 'AbortError' })
    const { meta } = (await state.takeOver(TASK, { clusterId: 'simulated', topicId: 'topics', token })).found!
    assert.ok(meta.checkpoint.windows > 0 && meta.checkpoint.windows < rows, `${meta.checkpoint.windows}`)
  })
})
