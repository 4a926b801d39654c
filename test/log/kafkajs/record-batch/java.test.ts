import assert from 'node:assert/strict'
import { join } from 'node:path'
import { findJava, run } from '../../../../deploy/stack/command.ts'
import { kafkaJars } from '../../../../deploy/stack/kafka.ts'
import type { RecordBatch } from '../../../../log/batch.ts'
import { decodeRecords } from '../../../../log/kafkajs/record-batch/decode.ts'
import { fetchRequest } from '../../../../log/kafkajs/requests/fetch.ts'
import { produceRequest } from '../../../../log/kafkajs/requests/produce.ts'
import { ownServer, sharedKafka } from '../../../support/servers.ts'
import { makeTopic, RawConnection } from '../requests/support.ts'
import { encode, type PlainRecord } from './support.ts'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const QUICK_START = ['-Xmx192m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']
const RECORDS = 200

/** Compressible, longer than one block of any codec together, all different. */
const value = (codec: string, i: number): string => `${codec} ${i} ${'lorem ipsum '.repeat(i * 3)}`

describe('batches written and read by the Java client', function () {
  this.slow(20_000)
  let brokers: string
  let kafka: RawConnection
  /** Undefined where there is no broker to be had. */
  let opened: RawConnection | undefined
  let java: (tool: string, args: readonly string[], input?: string) => Promise<string>

  before(async function () {
    brokers = (await sharedKafka(this)).brokers
    const [program, jars] = await ownServer(this, () => Promise.all([findJava(17), kafkaJars()]))
    java = async (tool, args, input) => {
      const classPath = ['-cp', join(jars, '*'), `org.apache.kafka.tools.${tool}`]
      const all = [...QUICK_START, ...classPath, '--bootstrap-server', brokers, ...args]
      return run(program, all, { timeoutMs: 100_000, ...(input === undefined ? {} : { input }) })
    }
    kafka = opened = await RawConnection.open(brokers)
  })

  after(() => opened?.close())

  async function readAll(topic: string): Promise<RecordBatch[]> {
    const all: RecordBatch[] = []
    let fetchOffset = 0
    for (;;) {
      const partitions = [{ topic, partition: 0, fetchOffset, maxBytes: 200_000 }]
      const options = { maxWaitMs: 100, minBytes: 1, maxBytes: 200_000, partitions }
      const [fetched] = (await kafka.send(fetchRequest(options))).partitions
      assert.equal(fetched!.errorCode, 0)
      const { batches, nextOffset } = decodeRecords({ ...fetched!, fetchOffset })
      all.push(...batches)
      if (nextOffset === fetchOffset && nextOffset === fetched!.highWatermark) return all
      fetchOffset = nextOffset
    }
  }

  it('come through every codec, with keys, headers and nulls', async () => {
    const topic = await makeTopic(brokers, 1)
    for (const codec of CODECS) {
      const lines = Array.from({ length: RECORDS }, (_, i) =>
        [
          `codec:${codec},empty:`,
          i % 7 === 0 ? 'NULL' : `key-${i}`,
          i % 5 === 0 ? 'NULL' : value(codec, i),
        ].join('\t'),
      )
      const properties = ['parse.key=true', 'parse.headers=true', 'null.marker=NULL'].flatMap((property) => [
        '--reader-property',
        property,
      ])
      await java(
        'ConsoleProducer',
        ['--topic', topic, '--compression-codec', codec, ...properties],
        `${lines.join('\n')}\n`,
      )
    }
    const read = (await readAll(topic)).flatMap((batch) =>
      Array.from({ length: batch.count }, (_, i) => ({
        offset: batch.offsetAt(i),
        key: batch.keyAt(i)?.toString() ?? null,
        value: batch.valueAt(i)?.toString() ?? null,
        codec: batch.headerAt(i, 'codec')?.toString(),
        empty: batch.headerAt(i, 'empty')?.toString(),
      })),
    )
    const sent = CODECS.flatMap((codec) =>
      Array.from({ length: RECORDS }, (_, i) => ({
        key: i % 7 === 0 ? null : `key-${i}`,
        value: i % 5 === 0 ? null : value(codec, i),
        codec,
        empty: '',
      })),
    ).map((record, offset) => ({ offset, ...record }))
    assert.deepEqual(read, sent)
  })

  it('of transactions are read without their marks', async () => {
    const topic = await makeTopic(brokers, 1)
    const args = ['--topic', topic, '--num-records', '20000', '--record-size', '100', '--throughput', '-1']
    const properties = ['--command-property', 'compression.type=lz4', '--transaction-duration-ms', '50']
    await java('ProducerPerformance', [...args, ...properties])
    const batches = await readAll(topic)
    assert.equal(
      batches.reduce((sum, { count }) => sum + count, 0),
      20_000,
    )
    assert.ok(batches.at(-1)!.nextOffset > 20_000)
    for (const batch of batches)
      for (let i = 0; i < batch.count; i++) assert.equal(batch.valueAt(i)!.length, 100)
  })

  it('written here are read there, whatever the codec', async () => {
    const topic = await makeTopic(brokers, 1)
    for (const compression of CODECS) {
      const records = Array.from({ length: RECORDS }, (_, i): PlainRecord => ({
        key: i % 7 === 0 ? null : Buffer.from(`key-${i}`),
        value: i % 5 === 0 ? null : Buffer.from(value(compression, i)),
        headers: { codec: Buffer.from(compression) },
      }))
      const batch = encode(records, { producerId: -1, producerEpoch: -1, baseSequence: -1, compression })
      const partitions = [{ topic, partition: 0, records: batch }]
      const [result] = await kafka.send(
        produceRequest({ transactionalId: null, timeoutMs: 10_000, partitions }),
      )
      assert.equal(result!.errorCode, 0, result!.errorMessage ?? compression)
    }
    const total = RECORDS * CODECS.length
    const args = [
      '--topic',
      topic,
      '--from-beginning',
      '--max-messages',
      String(total),
      '--timeout-ms',
      '60000',
    ]
    const properties = ['print.key=true', 'print.headers=true', 'print.offset=true'].flatMap((property) => [
      '--formatter-property',
      property,
    ])
    const printed = (await java('consumer.ConsoleConsumer', [...args, ...properties])).trimEnd().split('\n')
    const sent = CODECS.flatMap((codec) =>
      Array.from({ length: RECORDS }, (_, i) =>
        [`codec:${codec}`, i % 7 === 0 ? 'null' : `key-${i}`, i % 5 === 0 ? 'null' : value(codec, i)].join(
          '\t',
        ),
      ),
    ).map((line, offset) => `Offset:${offset}\t${line}`)
    assert.deepEqual(
      printed.map((line) => line.trimEnd()),
      sent.map((line) => line.trimEnd()),
    )
  })
})
