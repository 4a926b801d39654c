import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { BatchBuilder } from '../../log/batch.ts'
import { LogError } from '../../log/errors.ts'
import { long, optional, schema, string } from '../../schemas/schema.ts'
import { SinkError, type RowBatch } from '../../sinks/port.ts'
import { MemoryDestination } from './memory-destination.ts'
import { faulty, SinkBench, TOPIC } from './support.ts'

const thing = schema('Thing', { id: long() })
const wider = schema('Thing', { id: long(), name: optional(string()) })

describe('a sink runner', () => {
  let bench: SinkBench
  let destination: MemoryDestination

  beforeEach(async () => {
    bench = await SinkBench.create()
    destination = new MemoryDestination()
  })
  afterEach(() => bench.close())

  const ids = (): unknown[] => destination.rows.map(({ id }) => id)
  const numbers = (count: number, from = 0): { id: number }[] =>
    Array.from({ length: count }, (_, i) => ({ id: from + i }))

  it('writes a batch when it has enough rows, enough bytes, or has waited long enough', async () => {
    await bench.produce(thing, numbers(25))
    const byRows = destination.sink()
    const first = bench.start(byRows, { maxRows: 10, maxDelayMs: 50 })
    await bench.drained(first)
    await bench.stop(first)
    assert.deepEqual(
      byRows.batches.map(({ count, base, next }) => [count, base, next]),
      [
        [10, null, 10],
        [10, 10, 20],
        [5, 20, 25],
      ],
    )
    await bench.produce(thing, numbers(25, 25))
    const byBytes = destination.sink()
    await bench.drained(bench.start(byBytes, { maxBytes: 65 }))
    assert.ok(byBytes.batches.length >= 3)
    assert.ok(byBytes.batches.every(({ bytes, count }) => bytes <= 65 && count > 0))
    assert.deepEqual(
      ids(),
      numbers(50).map(({ id }) => id),
    )
  })

  it('holds no more in memory than it may, and reads on as that becomes durable', async () => {
    const blocked = Promise.withResolvers<void>()
    const sink = destination.sink({ before: () => blocked.promise })
    for (let i = 0; i < 40; i++) await bench.produce(wider, [{ id: i, name: 'x'.repeat(1_000) }])
    const runner = bench.start(sink, { maxHeldBytes: 5_000, maxRows: 2 })
    while (runner.heldBytes < 5_000) await new Promise((resolve) => setImmediate(resolve))
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(runner.heldBytes <= 10_000, `${runner.heldBytes} bytes`)
    assert.equal(await runner.lag(), 40)
    blocked.resolve()
    await bench.drained(runner)
    assert.equal(runner.heldBytes, 0)
    assert.equal(ids().length, 40)
  })

  it('moves past marks, and commits that', async () => {
    await bench.produceMark()
    await bench.produce(thing, numbers(1))
    await bench.produceMark()
    const sink = destination.sink()
    const runner = bench.start(sink)
    await bench.drained(runner)
    await bench.stop(runner)
    assert.equal(await bench.committed(runner.groupId), 3)
    const again = bench.start(sink)
    await bench.produce(thing, numbers(1, 1))
    await bench.drained(again)
    assert.deepEqual(
      sink.batches.map(({ count, next }) => [count, next]),
      [
        [1, 2],
        [1, 4],
      ].map(([count, next], i) => [count, i === 0 ? sink.batches[0]!.next : next]),
    )
  })

  it('moves past what was aborted at the end of the log', async () => {
    await bench.produce(thing, numbers(1))
    const producer = bench.log.transactionalProducer({ transactionalId: 'aborts' })
    await producer.init()
    producer.begin()
    const builder = new BatchBuilder(TOPIC, 0)
    builder.append(null, Buffer.from('never seen'))
    await producer.send([builder])
    await producer.abort()
    await bench.drained(bench.start(destination.sink()))
    assert.deepEqual([ids(), await bench.deadLetters()], [[0], []])
  })

  it('keeps several writes in flight, and moves only past what is durable without a gap', async () => {
    await bench.produce(thing, numbers(40))
    const waiting: { batch: RowBatch; go: () => void }[] = []
    const sink = destination.sink({
      maxWritesInFlight: 3,
      after: (batch) => new Promise((go) => waiting.push({ batch, go })),
    })
    const runner = bench.start(sink, { maxRows: 10 })
    while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve))
    waiting[2]!.go()
    waiting[1]!.go()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(runner.positions, [{ partition: 0, next: 0 }])
    waiting[0]!.go()
    while (waiting.length < 4) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(runner.positions, [{ partition: 0, next: 30 }])
    waiting[3]!.go()
    await bench.drained(runner)
    assert.deepEqual(
      ids(),
      numbers(40).map(({ id }) => id),
    )
  })

  it('keeps the sink’s note with its commits, and commits a new one before the first write', async () => {
    await bench.produce(thing, numbers(2))
    const notes: (string | null)[] = []
    const committed: (number | null)[] = []
    const sink = (): ReturnType<MemoryDestination['sink']> =>
      destination.sink({
        recovered: async ([assigned]) => {
          notes.push(assigned!.note)
          return `stream ${notes.length}`
        },
        before: async () => void committed.push(await bench.committed('shop.sink.data.things')),
        noteOf: ({ next }) => `row ${next}`,
      })
    const first = bench.start(sink())
    await bench.drained(first)
    await bench.stop(first)
    await bench.produce(thing, numbers(1, 2))
    const second = bench.start(sink())
    await bench.drained(second)
    await bench.stop(second)
    assert.deepEqual(notes, [null, 'row 2'])
    assert.deepEqual(committed, [0, 2])
  })

  it('goes on from the committed offset where the destination keeps no position', async () => {
    await bench.produce(thing, numbers(3))
    const first = bench.start(destination.sink({ keepsPositions: false }))
    await bench.drained(first)
    await bench.stop(first)
    await bench.produce(thing, numbers(2, 3))
    const dying = destination.sink({
      keepsPositions: false,
      after: () => Promise.reject(new Error('killed')),
    })
    await bench.failureOf(bench.start(dying))
    await bench.drained(bench.start(destination.sink({ keepsPositions: false })))
    assert.deepEqual(ids(), [0, 1, 2, 3, 4, 3, 4], 'at least once')
  })

  it('shares its partitions with others of its group, each row written once', async () => {
    await bench.close()
    bench = await SinkBench.create(4)
    const runners = [bench.start(destination.sink(), { maxRows: 7 })]
    for (let round = 0; round < 6; round++) {
      for (let partition = 0; partition < 4; partition++) {
        await bench.produce(thing, numbers(20, round * 1_000 + partition * 100), partition)
      }
      if (round === 1) runners.push(bench.start(destination.sink(), { instance: 'two', maxRows: 5 }))
      if (round === 3) runners.push(bench.start(destination.sink(), { instance: 'three' }))
      if (round === 4) await bench.stop(runners.shift()!)
    }
    const isDone = async (): Promise<boolean> => {
      const ends = await bench.ends()
      return ends.every(
        ({ partition, offset }) => destination.positionOf({ topic: TOPIC, partition })?.next === offset,
      )
    }
    while (!(await isDone())) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(new Set(ids()).size, 480)
    assert.equal(ids().length, 480)
    for (let partition = 0; partition < 4; partition++) {
      const own = destination.rows.filter((row) => row.partition === partition).map(({ id }) => id as number)
      assert.deepEqual(
        own,
        [...own].sort((a, b) => a - b),
      )
    }
  })

  it('waits for a schema registry that is away', async () => {
    await bench.produce(thing, numbers(2))
    let away = 3
    const { registry } = bench
    const runner = bench.start(destination.sink(), {
      registry: {
        register: (subject, text) => registry.register(subject, text),
        latest: (subject) => registry.latest(subject),
        schemaById: (id) => (away-- > 0 ? Promise.reject(new Error('no route')) : registry.schemaById(id)),
      },
    })
    await bench.drained(runner)
    assert.deepEqual(ids(), [0, 1])
    assert.match(
      (bench.events[0] as { error: Error }).error.message,
      /registry does not answer about schema \d+: no route/,
    )
  })

  it('ends with an error that no retry mends, and tells who waits', async () => {
    await bench.produce(thing, numbers(1))
    const runner = bench.start(destination.sink({ before: () => Promise.reject(new TypeError('a bug')) }))
    const waiting = assert.rejects(bench.drained(runner), { message: 'a bug' })
    assert.equal((await bench.failureOf(runner)).message, 'a bug')
    await waiting
    await assert.rejects(runner.whenDurable([]), { message: 'a bug' })
  })

  it('stops while it waits for its destination', async () => {
    await bench.produce(thing, numbers(1))
    const down = Promise.withResolvers<void>()
    const sink = destination.sink({ before: () => Promise.reject(new SinkError('UNAVAILABLE', 'down')) })
    const runner = bench.start(sink, {
      initialBackoffMs: 60_000,
      maxBackoffMs: 60_000,
      report: () => down.resolve(),
    })
    await down.promise
    await bench.stop(runner)
    await assert.rejects(runner.whenDurable([]), { code: 'UNUSABLE' })
  })

  it('stops at the first line when it is asked to before it has begun', async () => {
    const sink = destination.sink()
    await bench.runner(sink).run(AbortSignal.abort())
    assert.deepEqual(sink.batches, [])
  })

  it('pauses longer and longer, up to its limit, and never all at the same time', async () => {
    await bench.produce(thing, numbers(1))
    let downs = 8
    const pauses: number[] = []
    const sink = destination.sink({
      before: () => {
        pauses.push(performance.now())
        return downs-- > 0 ? Promise.reject(new SinkError('UNAVAILABLE', 'down')) : Promise.resolve()
      },
    })
    await bench.drained(bench.start(sink, { initialBackoffMs: 2, maxBackoffMs: 20, random: () => 0.5 }))
    const gaps = pauses.slice(1).map((at, i) => at - pauses[i]!)
    const expected = [2, 4, 8, 16, 20, 20, 20, 20].map((ms) => ms * 0.75)
    for (const [i, gap] of gaps.entries()) assert.ok(gap >= expected[i]! - 1, `pause ${i}: ${gap} ms`)
  })

  it('stops when the destination goes back under it, rather than leave a gap', async () => {
    await bench.produce(thing, numbers(10))
    let downs = 0
    const sink = destination.sink({
      before: () => (downs-- > 0 ? Promise.reject(new SinkError('UNAVAILABLE', 'down')) : Promise.resolve()),
    })
    const runner = bench.start(sink)
    await bench.drained(runner)
    destination.positions.clear()
    downs = 1
    await bench.produce(thing, numbers(1, 10))
    assert.equal((await bench.failureOf(runner)).code, 'POSITION_MISMATCH')
  })
})
describe('whatever comes, a sink', () => {
  it('has each good row once and in order, and each bad one among the dead letters once', async function () {
    this.timeout(600_000)
    const record = fc.constantFrom(
      'row',
      'wider row',
      'refused',
      'mark',
      'rubbish',
      'unknown schema',
      'no value',
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(record, { maxLength: 12 }), { maxLength: 8 }),
        fc.record({
          maxRows: fc.integer({ min: 1, max: 6 }),
          maxWritesInFlight: fc.integer({ min: 1, max: 3 }),
        }),
        fc.infiniteStream(fc.constantFrom('ok', 'ok', 'ok', 'lost', 'down', 'killed')),
        async (sends, { maxRows, maxWritesInFlight }, fates) => {
          const bench = await SinkBench.create()
          const destination = new MemoryDestination()
          const good: number[] = []
          const bad: number[] = []
          let id = 0
          for (const kind of sends.flat()) {
            await produce(bench, kind, id)
            if (kind === 'row' || kind === 'wider row') good.push(id)
            else if (kind !== 'mark') bad.push(id)
            id++
          }
          let faults = 12
          const fate = (): string => (faults > 0 ? (fates.next().value as string) : 'ok')
          const fail = (kind: string): Promise<void> => {
            if (kind === 'ok') return Promise.resolve()
            faults--
            return Promise.reject(kind === 'killed' ? new Error(kind) : new SinkError('UNAVAILABLE', kind))
          }
          const next = (): ReturnType<SinkBench['start']> => {
            const sink = destination.sink({
              maxWritesInFlight,
              refuses: (row) => row['id'] === -1,
              before: () => fail(fate() === 'down' ? 'down' : 'ok'),
              after: () => fail(fate()),
            })
            const log = faulty(bench.log, async (commit) => {
              const kind = fate()
              if (kind !== 'ok') faults--
              if (kind === 'down') throw new LogError('STORAGE', 'disk full')
              await commit()
              if (kind !== 'ok') throw new LogError('OUTCOME_UNKNOWN', 'answer lost')
            })
            return bench.start(sink, { maxRows, maxDelayMs: 0, log })
          }
          for (;;) {
            const runner = next()
            const outcome = await bench.drained(runner).then(
              () => 'drained',
              (error: unknown) => (error as Error).message,
            )
            if (outcome === 'drained') break
            assert.equal(outcome, 'killed')
            await bench.failureOf(runner)
          }
          assert.deepEqual(
            destination.rows.map((row) => row['id']),
            good,
          )
          assert.deepEqual(
            (await bench.deadLetters()).map(({ position }) => position),
            bad,
          )
          await bench.close()
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })
})

async function produce(bench: SinkBench, kind: string, id: number): Promise<void> {
  if (kind === 'row') await bench.produce(thing, [{ id }])
  else if (kind === 'wider row') await bench.produce(wider, [{ id, name: `thing ${id}` }])
  else if (kind === 'refused') await bench.produce(thing, [{ id: -1 }])
  else if (kind === 'mark') await bench.produceMark()
  else if (kind === 'rubbish') await bench.produceRaw(Buffer.from('rubbish'))
  else if (kind === 'unknown schema') await bench.produceRaw(Buffer.from([0, 0, 0, 77, 77, 2]))
  else await bench.produceRaw(null)
}
