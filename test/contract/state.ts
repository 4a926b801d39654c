import assert from 'node:assert/strict'
import { BatchBuilder } from '../../log/batch.ts'
import type {
  StateBackend,
  StateEntry,
  StateOwner,
  StateWrite,
  TaskState,
} from '../../processor/state/port.ts'
import { segmentKey, segmentPrefix } from '../../processor/state/keys.ts'

const OWNER: StateOwner = { clusterId: 'cluster', topicId: 'changelog+windows', token: 10 }
const STORE = 7
const START = { changelog: 0, windows: 0 }

function records(entries: Readonly<Record<string, string | null>>, segmentMs = 0): BatchBuilder {
  const builder = new BatchBuilder('windows', 0)
  for (const [key, value] of Object.entries(entries)) {
    builder.append(segmentKey(STORE, segmentMs, key), value === null ? null : Buffer.from(value))
  }
  return builder
}

function write(fields: Partial<StateWrite>): StateWrite {
  return {
    records: [],
    dropPrefixes: [],
    taskRecord: null,
    base: START,
    end: { changelog: 1, windows: 1 },
    timeMs: 5,
    ...fields,
  }
}

async function read(state: TaskState, ...keys: string[]): Promise<(string | null)[]> {
  const values = await state.readMany(keys.map((key) => segmentKey(STORE, 0, key)))
  return values.map((value) => value?.toString() ?? null)
}

async function scanned(state: TaskState, prefix: Buffer): Promise<string[]> {
  const entries: StateEntry[] = []
  for await (const chunk of state.scan(prefix)) entries.push(...chunk)
  return entries.map(({ key, value }) => `${key.toString('utf8', 10)}=${value.toString()}`).sort()
}

const lost = { code: 'STATE_LOST' }

/** What every state must keep, whatever it stands on; a durable one gives `reopen` too. */
export function stateContract(
  name: string,
  { durable }: { durable: boolean },
  open: () => Promise<{
    state: StateBackend
    reopen?: () => Promise<StateBackend>
    close: () => Promise<void>
  }>,
): void {
  describe(`the state port, ${name}`, () => {
    let opened: Awaited<ReturnType<typeof open>>
    let state: StateBackend

    beforeEach(async () => {
      opened = await open()
      state = opened.state
    })

    afterEach(() => opened.close())

    async function fresh(owner = OWNER): Promise<TaskState> {
      const task = await state.takeOver('t_0', owner)
      await task.newIncarnation(1)
      return task
    }

    it('finds nothing where nothing was written', async () => {
      assert.equal((await state.takeOver('t_0', OWNER)).found, null)
    })

    it('gives back what was applied, in the order asked, and null for the rest', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1', b: '2' }), records({ b: '3', c: '' })] }))
      assert.deepEqual(await read(task, 'c', 'x', 'b', 'a'), ['', null, '3', '1'])
    })

    it('deletes where the value is null', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1', b: '2' }), records({ a: null })] }))
      assert.deepEqual(await read(task, 'a', 'b'), [null, '2'])
    })

    it('leaves out the segments that are to be skipped', async () => {
      const task = await fresh()
      const skip = (segment: Buffer): boolean => segment.equals(segmentPrefix(STORE, 0))
      const batches = [records({ a: '1' }, 0), records({ b: '2' }, 1_000), records({ c: '3' }, 0)]
      await task.apply(write({ records: batches, skip }))
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 0)), [])
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 1_000)), ['b=2'])
    })

    it('scans a segment whole, and drops one whole', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1', b: '2' }, 0), records({ c: '3' }, 1_000)] }))
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 0)), ['a=1', 'b=2'])
      await task.apply(
        write({
          dropPrefixes: [segmentPrefix(STORE, 0)],
          base: { changelog: 1, windows: 1 },
          end: { changelog: 2, windows: 1 },
        }),
      )
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 0)), [])
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 1_000)), ['c=3'])
    })

    it('scans more than one chunk', async () => {
      const task = await fresh()
      const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, String(i)]))
      await task.apply(write({ records: [records(many)] }))
      assert.equal((await scanned(task, segmentPrefix(STORE, 0))).length, 10_000)
    })

    it('keeps keys of any length apart', async () => {
      const task = await fresh()
      const long = 'x'.repeat(5_000)
      await task.apply(
        write({ records: [records({ [`${long}1`]: 'one', [`${long}2`]: 'two', [long]: 'none' })] }),
      )
      assert.deepEqual(await read(task, `${long}2`, `${long}1`, long), ['two', 'one', 'none'])
      assert.deepEqual(await scanned(task, segmentPrefix(STORE, 0)), [
        `${long}1=one`,
        `${long}2=two`,
        `${long}=none`,
      ])
    })

    it('applies a write once: again it changes nothing', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1' })] }))
      await task.apply(write({ records: [records({ a: '2' })] }))
      assert.deepEqual(await read(task, 'a'), ['1'])
    })

    it('refuses a write whose base is not the checkpoint', async () => {
      const task = await fresh()
      await assert.rejects(
        task.apply(write({ base: { changelog: 3, windows: 3 }, end: { changelog: 4, windows: 4 } })),
        lost,
      )
    })

    it('gives the checkpoint and the task record to the next owner', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1' })], taskRecord: Buffer.from('record') }))
      const next = await state.takeOver('t_0', { ...OWNER, token: 11 })
      assert.deepEqual(next.found!.meta.checkpoint, { changelog: 1, windows: 1 })
      assert.equal(next.found!.taskRecord!.toString(), 'record')
      assert.equal(next.found!.meta.token, OWNER.token)
      assert.deepEqual(await read(next, 'a'), ['1'])
    })

    it('refuses the earlier owner everything once a later one has taken over', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1' })] }))
      await state.takeOver('t_0', { ...OWNER, token: 11 })
      await assert.rejects(read(task, 'a'), lost)
      await assert.rejects(scanned(task, segmentPrefix(STORE, 0)), lost)
      await assert.rejects(
        task.apply(write({ base: { changelog: 1, windows: 1 }, end: { changelog: 2, windows: 2 } })),
        lost,
      )
      await assert.rejects(state.takeOver('t_0', OWNER), lost)
      await assert.rejects(task.newIncarnation(2), lost)
    })

    it('does not let a lower token take over', async () => {
      await fresh({ ...OWNER, token: 11 })
      await assert.rejects(state.takeOver('t_0', { ...OWNER, token: 10 }), lost)
    })

    it("gives way to another log, whatever the token, and does not show the other log's state", async () => {
      const task = await fresh({ ...OWNER, token: 99 })
      await task.apply(write({ records: [records({ a: '1' })] }))
      const other = await state.takeOver('t_0', { ...OWNER, clusterId: 'another', token: 1 })
      assert.equal(other.found, null)
      await other.newIncarnation(1)
      assert.deepEqual(await read(other, 'a'), [null])
      await assert.rejects(read(task, 'a'), lost)
    })

    it('begins an incarnation empty', async () => {
      const task = await fresh()
      await task.apply(write({ records: [records({ a: '1' })] }))
      const next = await state.takeOver('t_0', { ...OWNER, token: 12 })
      await next.newIncarnation(2)
      assert.deepEqual(await read(next, 'a'), [null])
      assert.deepEqual(await scanned(next, segmentPrefix(STORE, 0)), [])
    })

    it('keeps tasks apart', async () => {
      const first = await fresh()
      await first.apply(write({ records: [records({ a: '1' })] }))
      const second = await state.takeOver('t_1', OWNER)
      await second.newIncarnation(1)
      assert.deepEqual(await read(second, 'a'), [null])
    })

    if (durable) {
      it('survives its process', async () => {
        const task = await fresh()
        await task.apply(write({ records: [records({ a: '1' })], taskRecord: Buffer.from('record') }))
        state = await opened.reopen!()
        const next = await state.takeOver('t_0', { ...OWNER, token: 11 })
        assert.deepEqual(next.found!.meta.checkpoint, { changelog: 1, windows: 1 })
        assert.equal(next.found!.taskRecord!.toString(), 'record')
        assert.deepEqual(await read(next, 'a'), ['1'])
      })
    }
  })
}
