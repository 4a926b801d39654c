import assert from 'node:assert/strict'
import { double, long, optional, schema, string } from '../../schemas/schema.ts'
import { RowsRefused, SinkError, type RowBatch } from '../../sinks/port.ts'
import { header, SinkBench, tableOf, TOPIC } from '../sinks/support.ts'
import { everything, extremes } from './sink/extremes.ts'
import { Interposed, type DestinationUnderTest } from './sink/support.ts'
import { upsertTests } from './sink/upserts.ts'

const thing = schema('Thing', { id: long(), name: optional(string()) })
const things = tableOf(thing)

/**
 * What every sink that keeps positions promises, driven by the runner as in a real run.
 * @param upserts whether its tables may have a key by which rows replace each other
 */
export function sinkContract(
  name: string,
  open: () => Promise<DestinationUnderTest>,
  { upserts }: { readonly upserts: boolean },
): void {
  describe(`sink: ${name}`, () => {
    let destination: DestinationUnderTest
    let bench: SinkBench

    beforeEach(async () => {
      destination = await open()
      bench = await SinkBench.create(2)
    })

    afterEach(async () => {
      await bench.close()
      await destination.close()
    })

    const ids = async (): Promise<number[]> =>
      (await destination.rows(things)).map(({ id }) => id as number).sort((a, b) => a - b)

    it('holds every row once, those of a partition in their order', async () => {
      await bench.produce(thing, range(0, 5_000), 0)
      await bench.produce(thing, range(5_000, 5_003), 1)
      const runner = bench.start(destination.sink(things), { maxRows: 700 })
      await bench.drained(runner)
      await bench.produce(thing, range(5_003, 5_100), 1)
      await bench.drained(runner)
      assert.equal(runner.rowsWritten, 5_100)
      const rows = (await destination.rows(things)).map(({ id }) => id as number)
      assert.deepEqual(
        rows.filter((id) => id < 5_000),
        Array.from({ length: 5_000 }, (_, i) => i),
      )
      assert.deepEqual(
        rows.filter((id) => id >= 5_000),
        Array.from({ length: 100 }, (_, i) => 5_000 + i),
      )
      assert.equal(await runner.lag(), 0)
    })

    it('gives back every type as it was written, with nulls, all of Unicode and the extremes', async () => {
      const table = tableOf(everything, { name: 'data.everything' })
      const rows = extremes()
      await bench.produce(everything, rows)
      await bench.drained(bench.start(destination.sink(table)))
      const found = await destination.rows(table)
      assert.equal(found.length, rows.length)
      for (const [i, row] of rows.entries()) assert.deepEqual(found[i], row, `row ${i}`)
    })

    it('takes a record larger than a batch', async () => {
      await bench.produce(thing, [
        { id: 1, name: 'x'.repeat(300_000) },
        { id: 2, name: 'y' },
      ])
      await bench.drained(bench.start(destination.sink(things), { maxBytes: 1_000 }))
      const rows = await destination.rows(things)
      assert.deepEqual(
        rows.map(({ id, name: text }) => [id, (text as string).length]),
        [
          [1, 300_000],
          [2, 1],
        ],
      )
    })

    it('adds nothing when a restarted runner finds the position', async () => {
      await bench.produce(thing, range(0, 10))
      const first = bench.start(destination.sink(things))
      await bench.drained(first)
      await bench.stop(first)
      await bench.produce(thing, range(10, 12))
      await bench.drained(bench.start(destination.sink(things)))
      assert.deepEqual(await ids(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    })

    it('holds each row once after a death between the write and the commit of its offset', async () => {
      await bench.produce(thing, range(0, 30))
      const dying = new Interposed(destination.sink(things))
      dying.after = () => Promise.reject(new Error('killed here'))
      const first = bench.start(dying, { maxRows: 10 })
      assert.equal((await bench.failureOf(first)).message, 'killed here')
      assert.notEqual(await bench.committed(first.groupId), 30)
      await bench.drained(bench.start(destination.sink(things)))
      assert.deepEqual(
        await ids(),
        Array.from({ length: 30 }, (_, i) => i),
      )
    })

    it('holds each row once when the answer to a write is lost', async () => {
      await bench.produce(thing, range(0, 30))
      const sink = new Interposed(destination.sink(things))
      let lost = 0
      sink.after = () =>
        lost++ % 2 === 0 ? Promise.reject(new SinkError('UNAVAILABLE', 'answer lost')) : Promise.resolve()
      await bench.drained(bench.start(sink, { maxRows: 7 }))
      assert.ok(lost >= 5)
      assert.deepEqual(
        await ids(),
        Array.from({ length: 30 }, (_, i) => i),
      )
    })

    it('waits while it is down, says so once, and goes on by itself', async () => {
      const sink = new Interposed(destination.sink(things))
      let downs = 5
      sink.before = () =>
        downs-- > 0 ? Promise.reject(new SinkError('UNAVAILABLE', 'down')) : Promise.resolve()
      await bench.produce(thing, range(0, 3), 0)
      await bench.produce(thing, range(3, 6), 1)
      await bench.drained(bench.start(sink))
      assert.deepEqual(await ids(), [0, 1, 2, 3, 4, 5])
      assert.deepEqual(
        bench.events.map(({ kind }) => kind).filter((kind) => kind !== 'prepared'),
        ['waiting', 'resumed'],
      )
    })

    it('is not harmed by an owner that was slow and writes when another has taken over', async () => {
      await bench.produce(thing, range(0, 10))
      const zombie = new Interposed(destination.sink(things))
      const reached = Promise.withResolvers<void>()
      const goOn = Promise.withResolvers<void>()
      zombie.before = () => {
        reached.resolve()
        return goOn.promise
      }
      const runner = bench.start(zombie)
      await reached.promise
      const other = destination.sink(things)
      await other.prepare()
      const [recovered] = await other.recover([await assignment(bench)])
      assert.equal(recovered!.position, null)
      await other.write({ ...zombie.batches[0]! })
      goOn.resolve()
      await bench.produce(thing, range(10, 12))
      await bench.drained(runner)
      assert.deepEqual(await ids(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
      assert.equal(runner.rowsWritten, 2, 'it claims what the other wrote')
    })

    it('refuses a write that does not stand on what it holds', async () => {
      await bench.produce(thing, range(0, 10))
      const sink = new Interposed(destination.sink(things))
      await bench.drained(bench.start(sink))
      const batch = sink.batches[0]!
      for (const base of [null, batch.next - 1, batch.next + 5]) {
        await assert.rejects(sink.write({ ...batch, base, next: batch.next + 10 }), {
          code: 'STALE_POSITION',
        })
      }
      await assert.rejects(
        sink.write({ ...batch, base: batch.next, next: batch.next + 10, incarnation: 'another/topic' }),
        { code: 'STALE_POSITION' },
      )
      assert.deepEqual(await ids(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    })

    it('moves its position without rows', async () => {
      const sink = destination.sink(things)
      await sink.prepare()
      const at = await assignment(bench)
      const empty: RowBatch = { ...at, base: null, next: 7, spans: [], count: 0, bytes: 0 }
      await sink.write(empty)
      await sink.write({ ...empty, base: 7, next: 9 })
      const [recovered] = await destination.sink(things).recover([at])
      assert.deepEqual(recovered!.position, { next: 9, incarnation: at.incarnation })
      assert.deepEqual(await destination.rows(things), [])
    })

    it('recovers each partition on its own, in the order asked', async () => {
      const sink = destination.sink(things)
      await sink.prepare()
      const at = await assignment(bench)
      await sink.write({ ...at, partition: 1, base: null, next: 4, spans: [], count: 0, bytes: 0 })
      const recovered = await sink.recover([{ ...at, partition: 0 }, { ...at, partition: 1 }, at])
      assert.deepEqual(
        recovered.map(({ position }) => position?.next ?? null),
        [null, 4, null],
      )
    })

    it('writes what precedes a refused row, makes a dead letter of it, and goes on', async () => {
      const loose = schema('Thing', { id: optional(long()), name: optional(string()) })
      const table = tableOf(schema('Thing', { id: long(), name: optional(string()) }))
      await bench.produce(loose, [
        { id: 1 },
        { id: 2 },
        {},
        { id: null, name: 'no id' },
        { id: 3 },
        {},
        { id: 4 },
      ])
      const sink = new Interposed(destination.sink(table))
      const runner = bench.start(sink)
      await bench.drained(runner)
      assert.deepEqual(await ids(), [1, 2, 3, 4])
      assert.equal(runner.rowsRefused, 3)
      const letters = await bench.deadLetters()
      assert.deepEqual(
        letters.map(({ pipeline, source, partition, position, field }) => [
          pipeline,
          source,
          partition,
          position,
          field,
        ]),
        [2, 3, 5].map((offset) => ['things', TOPIC, 0, offset, 'id']),
      )
      assert.ok(letters.every(({ reason, payload }) => reason.includes('id') && payload.length >= 5))
      // The barrier: what stands before a refused row is written apart from what follows.
      assert.deepEqual(sink.written, [2, 5, 7])
    })

    it('makes dead letters of what no table can hold, once, whatever happens in between', async () => {
      await bench.produce(thing, [{ id: 1 }])
      await bench.produceRaw(Buffer.from('plain text'))
      await bench.produceRaw(Buffer.alloc(0))
      await bench.produceRaw(Buffer.from([0, 0, 0, 99, 99, 2]))
      await bench.produceRaw(null)
      await bench.produce(thing, [{ id: 2 }])
      await bench.produceRaw(header(await bench.schemaId(thing)))
      await bench.produceMark()
      const dying = new Interposed(destination.sink(things))
      let writes = 0
      dying.before = () => (++writes === 2 ? Promise.reject(new Error('killed here')) : Promise.resolve())
      await bench.failureOf(bench.start(dying))
      await bench.drained(bench.start(destination.sink(things)))
      assert.deepEqual(await ids(), [1, 2])
      const letters = await bench.deadLetters()
      assert.deepEqual(
        letters.map(({ position }) => position),
        [1, 2, 3, 4, 6],
      )
      assert.equal(Buffer.from(letters[0]!.payload).toString(), 'plain text')
    })

    it('refuses rows without writing any of the batch', async () => {
      const loose = schema('Thing', { id: optional(long()) })
      await bench.produce(loose, [{ id: 1 }, {}, { id: 2 }])
      const sink = new Interposed(destination.sink(things))
      let refused: RowsRefused | null = null
      sink.failed = (error) => {
        if (error instanceof RowsRefused) refused ??= error
      }
      await bench.drained(bench.start(sink))
      assert.equal(refused!.rows[0]!.index, 1)
      assert.equal(refused!.rows[0]!.field, 'id')
      assert.deepEqual(await ids(), [1, 2])
    })

    it('reports drift and names the column and both types', async () => {
      await bench.drained(bench.start(destination.sink(things)))
      const other = tableOf(schema('Thing', { id: string(), name: optional(string()) }))
      const error = await bench.failureOf(bench.start(destination.sink(other)))
      assert.equal(error.code, 'DRIFT')
      assert.match(error.message, /data\.things.*column id/)
    })

    it('adds new optional columns, and reads records of the schema before as null there', async () => {
      await bench.produce(thing, [{ id: 1, name: 'old' }])
      const first = bench.start(destination.sink(things))
      await bench.drained(first)
      await bench.stop(first)
      const wider = schema('Thing', { id: long(), name: optional(string()), size: optional(double()) })
      const table = tableOf(wider)
      await bench.produce(thing, [{ id: 2, name: 'late' }])
      await bench.produce(wider, [{ id: 3, name: 'new', size: 1.5 }])
      await bench.drained(bench.start(destination.sink(table)))
      assert.deepEqual(await destination.rows(table), [
        { id: 1, name: 'old', size: null },
        { id: 2, name: 'late', size: null },
        { id: 3, name: 'new', size: 1.5 },
      ])
    })

    if (upserts) describe('of a table with a key', () => upsertTests(() => ({ destination, bench })))
  })
}
async function assignment(bench: SinkBench): Promise<{
  topic: string
  partition: number
  incarnation: string
  note: null
}> {
  const [topic] = await bench.log.admin.describeTopics([TOPIC])
  const incarnation = `${await bench.log.admin.clusterId()}/${topic!.topicId}`
  return { topic: TOPIC, partition: 0, incarnation, note: null }
}
function range(from: number, to: number): { id: number; name: string }[] {
  return Array.from({ length: to - from }, (_, i) => ({ id: from + i, name: `thing ${from + i}` }))
}
