import assert from 'node:assert/strict'
import { BatchBuilder } from '../../log/batch.ts'
import { LogError } from '../../log/errors.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import { long, schema } from '../../schemas/schema.ts'
import { writeHeader } from '../../schemas/wire.ts'
import { MemoryDestination } from './memory-destination.ts'
import { DEAD_LETTERS, faulty, SinkBench, TOPIC } from './support.ts'

const thing = schema('Thing', { id: long() })

describe('a sink’s dead letters', () => {
  let bench: SinkBench
  let destination: MemoryDestination

  beforeEach(async () => {
    bench = await SinkBench.create()
    destination = new MemoryDestination()
  })
  afterEach(() => bench.close())

  const isOdd = ({ id }: Record<string, unknown>): boolean => (id as number) % 2 === 1

  it('are written once when the answer to their transaction is lost', async () => {
    await bench.produce(thing, [{ id: 0 }, { id: 1 }, { id: 2 }])
    let lost = 1
    const log = faulty(bench.log, async (commit) => {
      await commit()
      if (lost-- > 0) throw new LogError('OUTCOME_UNKNOWN', 'answer lost')
    })
    await bench.drained(bench.start(destination.sink({ refuses: isOdd }), { log }))
    assert.deepEqual(
      (await bench.deadLetters()).map(({ position }) => position),
      [1],
    )
    assert.deepEqual(
      destination.rows.map(({ id }) => id),
      [0, 2],
    )
  })

  it('are written in the end when their transaction fails', async () => {
    await bench.produce(thing, [{ id: 0 }, { id: 1 }, { id: 2 }])
    let fails = 3
    const log = faulty(bench.log, (commit) =>
      fails-- > 0 ? Promise.reject(new LogError('STORAGE', 'disk full')) : commit(),
    )
    await bench.drained(bench.start(destination.sink({ refuses: isOdd }), { log }))
    assert.deepEqual(
      (await bench.deadLetters()).map(({ position }) => position),
      [1],
    )
  })

  it('stop a sink that is fenced again and again: another has its name', async () => {
    await bench.produce(thing, [{ id: 1 }])
    const log = faulty(bench.log, () => Promise.reject(new LogError('FENCED', 'fenced')))
    assert.equal(
      (await bench.failureOf(bench.start(destination.sink({ refuses: isOdd }), { log }))).code,
      'FENCED',
    )
  })

  it('that are broken themselves become dead letters once, and stop the sink the second time', async () => {
    const topic = DEAD_LETTERS
    const producer = bench.log.idempotentProducer()
    const builder = new BatchBuilder(topic, 0)
    builder.append(null, Buffer.from('no dead letter'))
    await producer.send([builder])
    const runner = bench.start(destination.sink(), { topic })
    await runner.whenDurable([{ partition: 0, offset: 2 }])
    assert.equal(destination.rows[0]!['source'], topic)
    await bench.stop(runner)
    const other = bench.start(new MemoryDestination().sink({ refuses: () => true }), {
      topic,
      application: 'shop',
    })
    assert.equal((await bench.failureOf(other)).code, 'DEAD_LETTER_REFUSED')
  })

  it('carry the record whole, with its place and the reason', async () => {
    await bench.produce(thing, [{ id: 0 }, { id: 1 }])
    await bench.drained(
      bench.start(destination.sink({ refuses: isOdd }), {
        clock: { nowMs: () => 1_700_000_000_000 },
        maxDelayMs: 0,
      }),
    )
    const [letter] = await bench.deadLetters()
    const expected = new BatchBuilder(TOPIC, 0)
    writeHeader(expected.writer, await bench.schemaId(thing))
    thing.encode(expected.writer, { id: 1 })
    assert.deepEqual(letter, {
      pipeline: 'things',
      source: TOPIC,
      partition: 0,
      position: 1,
      reason: 'not wanted',
      field: 'id',
      payload: new Uint8Array(expected.buffer.subarray(0, expected.byteLength)),
      failed_at: 1_700_000_000_000,
      line: null,
    })
    assert.equal(deadLetterSchema.fields.length, Object.keys(letter!).length)
  })
})
