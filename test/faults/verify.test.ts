import fc from 'fast-check'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../config/clock.ts'
import { ByteWriter } from '../../log/batch.ts'
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts'
import { alert } from '../../pipelines/orders/contract.ts'
import { MARK_HEADER } from '../../schemas/marks.ts'
import { HEADER_BYTES } from '../../schemas/wire.ts'
import { runOrders, Scratch } from '../end-to-end/support.ts'
import { openTestLog } from '../log/kafkajs/support.ts'
import { sharedKafka } from '../support/servers.ts'
import { Decoder, dump, type DumpedRecord } from './dump.ts'
import { expectedRows, TOPICS, type Rows } from './expected.ts'
import { OrderLines, type GivenLine } from './input.ts'
import { compare, isWrong, STALLS, type TopicResult } from './verify.ts'

const LINES = 6_000
const OPTIONS = { spikeAbove: 90, dropBelow: 5 }
const OUTPUTS = Object.values(TOPICS)

describe('the verifier of the fault runs', () => {
  const scratch = new Scratch()
  let records: DumpedRecord[] = []
  let schemas: DumpedRecord[] = []
  let expected: Rows = new Map()

  before(async () => {
    const made = new OrderLines({ seed: 1 })
    const lines: GivenLine[] = Array.from({ length: LINES }, () => made.next())
    expected = expectedRows(lines, OPTIONS)
    const file = join(scratch.path, 'orders.ndjson')
    writeFileSync(file, lines.map(({ text }) => `${text}\n`).join(''))
    const directory = scratch.newDirectory()
    process.env['ORDERS_SPIKE_ABOVE'] = String(OPTIONS.spikeAbove)
    try {
      await runOrders(directory, [file])
    } finally {
      delete process.env['ORDERS_SPIKE_ABOVE']
    }
    const log = join(directory, 'log')
    records = await recordsIn(
      log,
      OUTPUTS.map((name) => `orders.${name}`),
    )
    schemas = await recordsIn(log, ['_millrace-schemas'])
  })
  after(() => scratch.remove())

  const verdictOn = (changed: readonly DumpedRecord[]): Map<string, TopicResult> => {
    const verdict = compare({ records: changed, open: [] }, new Decoder(schemas), 'orders', expected)
    return new Map(verdict.topics.map((result) => [result.topic, result]))
  }

  it('has an input in which everything occurs that it looks at', () => {
    for (const name of OUTPUTS)
      assert.ok(expected.get(name)!.length >= 10, `${name}: ${expected.get(name)!.length}`)
    const alerts = expected.get(TOPICS.alerts)!
    for (const type of ['SPIKE', 'DROP'])
      assert.ok(
        alerts.some((row) => row.includes(type)),
        type,
      )
    assert.ok(expected.get(TOPICS.metrics)!.some((row) => row.includes('"order_count":0')))
    assert.ok(expected.get(TOPICS.source)!.length > expected.get(TOPICS.orders)!.length)
  })

  it('agrees with a run that nobody disturbed', () => {
    const verdict = compare({ records, open: [] }, new Decoder(schemas), 'orders', expected)
    assert.deepEqual(
      verdict.topics.flatMap(({ examples }) => examples),
      [],
    )
    assert.ok(!isWrong(verdict))
  })

  for (const name of OUTPUTS) {
    const mine = (): number[] =>
      records.flatMap((record, index) => (record.topic === `orders.${name}` && !record.mark ? [index] : []))
    const anyOfMine = (): fc.Arbitrary<number> => fc.constantFrom(...mine())

    it(`sees every record that is lost, doubled or changed in ${name}`, () => {
      fc.assert(
        fc.property(anyOfMine(), (index) => {
          const lost = verdictOn(records.toSpliced(index, 1)).get(name)!
          assert.deepEqual([lost.lost, lost.doubled, lost.foreign], [1, 0, 0])
          const doubled = verdictOn([...records, records[index]!]).get(name)!
          assert.deepEqual([doubled.lost, doubled.doubled, doubled.foreign], [0, 1, 0])
          const other = records[index]!
          const value = Buffer.from(other.value!)
          // Early in the record, but late in a dead letter: never in a column that the clock gives.
          const at = name === TOPICS.deadLetters ? value.length - 12 : 8
          value[at]! ^= 1
          const changed = verdictOn(records.with(index, { ...other, value })).get(name)!
          assert.deepEqual([changed.lost, changed.doubled, changed.foreign], [1, 0, 1])
        }),
        { numRuns: 5 },
      )
    })
  }

  it('sees every stall that is told of twice', () => {
    const index = records.findIndex(({ topic, mark }) => topic === `orders.${TOPICS.alerts}` && !mark)
    const header = records[index]!.value!.subarray(0, HEADER_BYTES)
    const stall = (since: number, by: number): DumpedRecord => {
      const writer = new ByteWriter(64)
      writer.bytes(header)
      alert.encode(writer, { alert_type: 'STALLED', window_start: since, window_end: by, order_count: 0 })
      return { ...records[index]!, value: writer.buffer.subarray(0, writer.position) }
    }
    const once = verdictOn([...records, stall(1_000, 3_000), stall(9_000, 12_000)]).get(STALLS)!
    assert.deepEqual([once.found, once.lost, once.doubled, once.foreign], [2, 0, 0, 0])
    const twice = verdictOn([...records, stall(1_000, 3_000), stall(1_000, 4_000)]).get(STALLS)!
    assert.deepEqual([twice.found, twice.lost, twice.doubled, twice.foreign], [2, 0, 1, 0])
  })

  it('calls a transaction that stays open wrong', () => {
    const verdict = compare({ records, open: ['orders.x-0'] }, new Decoder(schemas), 'orders', expected)
    assert.ok(isWrong(verdict))
  })
})

describe("reading topics with Java's client", () => {
  it('gives what is committed, and names the partitions where a transaction is open', async function () {
    const { brokers } = await sharedKafka(this)
    const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
    const topic = `dump-${process.pid}-${Date.now()}`
    const log = await openTestLog(brokers)
    await log.admin.createTopics([{ name: topic, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
    await log.close()
    const ended = await transaction(kafka, topic, 0, ['a', 'b'])
    await ended.commit()
    const aborted = await transaction(kafka, topic, 0, ['aborted'])
    await aborted.abort()
    const open = await transaction(kafka, topic, 1, ['open'])
    const dumped = await dump([brokers], [topic])
    assert.deepEqual(
      dumped.records.map(({ partition, offset, mark, key, value }) => [
        partition,
        offset,
        mark,
        key?.toString(),
        value?.toString(),
      ]),
      [
        [0, 0, false, undefined, 'a'],
        [0, 1, false, undefined, 'b'],
      ],
    )
    assert.deepEqual(dumped.open, [`${topic}-1`])
    await open.abort()
    for (const { producer } of [ended, aborted, open]) await producer.disconnect()
  })
})

async function transaction(
  kafka: Kafka,
  topic: string,
  partition: number,
  values: readonly string[],
): Promise<{ producer: Producer; commit(): Promise<void>; abort(): Promise<void> }> {
  const transactionalId = `${topic}-${values.join()}`
  const producer = kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true })
  await producer.connect()
  const begun = await producer.transaction()
  await begun.send({ topic, messages: values.map((value) => ({ partition, value })) })
  return { producer, commit: () => begun.commit(), abort: () => begun.abort() }
}

/** All records of topics of the embedded log. */
async function recordsIn(directory: string, topics: readonly string[]): Promise<DumpedRecord[]> {
  const log = await openEmbeddedLog({ directory, clock: systemClock })
  const records: DumpedRecord[] = []
  for (const [index, topic] of (await log.admin.describeTopics(topics)).entries()) {
    for (let partition = 0; partition < (topic?.partitions ?? 0); partition++) {
      const reader = log.partitionReader({ topic: topics[index]!, partition }, 0)
      for (let batch = await reader.read(1 << 20); batch !== null; batch = await reader.read(1 << 20)) {
        for (let i = 0; i < batch.count; i++) {
          records.push({
            topic: topics[index]!,
            partition,
            offset: batch.offsetAt(i),
            mark: batch.headerAt(i, MARK_HEADER) !== undefined,
            key: copied(batch.keyAt(i)),
            value: copied(batch.valueAt(i)),
          })
        }
      }
      await reader.close()
    }
  }
  await log.close()
  return records
}

function copied(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
