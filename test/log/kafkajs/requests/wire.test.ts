import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../../config/test-scale.ts'
import { fetchRequest } from '../../../../log/kafkajs/requests/fetch.ts'
import { metadataRequest } from '../../../../log/kafkajs/requests/metadata.ts'
import { offsetFetchRequest } from '../../../../log/kafkajs/requests/offset-fetch.ts'
import { EARLIEST, listOffsetsRequest } from '../../../../log/kafkajs/requests/offsets.ts'
import { produceRequest } from '../../../../log/kafkajs/requests/produce.ts'
import { txnOffsetCommitRequest } from '../../../../log/kafkajs/requests/transactions.ts'
import {
  MalformedResponseError,
  readInt64,
  WireReader,
  WireWriter,
  writeInt64,
} from '../../../../log/kafkajs/requests/wire.ts'
import { kafkajs } from '../record-batch/kafkajs.ts'

const partition = { topic: 't', partition: 0 }
const transaction = { transactionalId: 'id', producerId: 1, producerEpoch: 0 }
const group = { groupId: 'g', memberId: 'm', generation: 1 }

const requests = [
  metadataRequest(['t']),
  produceRequest({ transactionalId: null, timeoutMs: 1, partitions: [] }),
  fetchRequest({ maxWaitMs: 1, minBytes: 1, maxBytes: 1, partitions: [] }),
  offsetFetchRequest({ groupId: 'g', partitions: [partition], requireStable: true }),
  listOffsetsRequest({ partitions: [{ ...partition, at: EARLIEST }], isolation: 'read_committed' }),
  txnOffsetCommitRequest(transaction, group, [{ ...partition, offset: 1, metadata: '' }]),
]

describe("Kafka's primitive types", () => {
  it('are read as they were written', () => {
    const text = fc.option(fc.string({ unit: 'grapheme', maxLength: 300 }))
    fc.assert(
      fc.property(
        fc.integer({ min: -0x80000000, max: 0x7fffffff }),
        fc.maxSafeInteger(),
        text,
        text,
        fc.array(fc.nat(), { maxLength: 200 }),
        fc.uint8Array({ maxLength: 50 }),
        (int32, int64, string, compact, list, records) => {
          const writer = new WireWriter(1)
          writer.int32(int32)
          writer.int64(int64)
          writer.string(string)
          writer.compactString(compact)
          writer.array(list, (item) => writer.uvarint(item))
          writer.compactArray(list, (item) => writer.int32(item))
          writer.compactArray(null, () => undefined)
          writer.records(records)
          writer.noUuid()
          writer.noTags()
          writer.bool(true)
          const reader = new WireReader(writer.buffer, 'Test')
          assert.equal(reader.int32(), int32)
          assert.equal(reader.int64(), int64)
          assert.equal(reader.nullableString(), string)
          assert.equal(reader.compactNullableString(), compact)
          assert.deepEqual(
            reader.array(() => reader.uvarint()),
            list,
          )
          assert.deepEqual(
            reader.compactArray(() => reader.int32()),
            list,
          )
          assert.deepEqual(
            reader.compactArray(() => reader.int32()),
            [],
          )
          assert.deepEqual(reader.records(), Buffer.from(records))
          assert.equal(reader.uuid(), null)
          reader.skipTags()
          assert.equal(reader.bool(), true)
        },
      ),
    )
  })

  it('hold offsets and ids of either sign up to 2^53', () => {
    const buffer = Buffer.alloc(8)
    for (const value of [
      0,
      1,
      -1,
      -2,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      -(2 ** 32),
      2 ** 53 - 1,
      -(2 ** 53) + 1,
    ]) {
      writeInt64(buffer, value, 0)
      assert.equal(buffer.readBigInt64BE(), BigInt(value))
      assert.equal(readInt64(buffer, 0), value)
    }
  })

  it('have tags of any kind skipped behind them', () => {
    const reader = new WireReader(Buffer.from([2, 0, 1, 9, 5, 3, 1, 2, 3, 42]), 'Test')
    reader.skipTags()
    assert.equal(reader.int8(), 42)
  })
})

describe('a response', () => {
  it('that is cut, or lies about its lengths, is an error that names it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...requests),
        fc.uint8Array({ maxLength: 200 }),
        ({ request, response }, bytes) => {
          try {
            response.decode(Buffer.from(bytes))
          } catch (error) {
            assert.ok(error instanceof MalformedResponseError, String((error as Error).stack))
            assert.equal(error.code, 'MALFORMED_RESPONSE')
            assert.match(error.message, new RegExp(`${request.apiName} response`))
          }
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('with a count beyond its own bytes makes no room for it', () => {
    const lying = Buffer.concat([Buffer.alloc(10), Buffer.from([0x7f, 0xff, 0xff, 0xff])])
    assert.throws(
      () => fetchRequest({ maxWaitMs: 1, minBytes: 1, maxBytes: 1, partitions: [] }).response.decode(lying),
      {
        name: 'MalformedResponseError',
      },
    )
  })

  it('of a broker that throttles says so to KafkaJS, which waits', () => {
    const throttled = Buffer.alloc(14)
    throttled.writeInt32BE(250)
    const { response } = fetchRequest({ maxWaitMs: 1, minBytes: 1, maxBytes: 1, partitions: [] })
    assert.equal(response.decode(throttled).clientSideThrottleTime, 250)
  })
})

describe('a request', () => {
  it("is framed by KafkaJS, with the empty tag buffer that ends a flexible version's header", async () => {
    const createRequest = kafkajs('protocol/request')
    const frame = async ({ request }: (typeof requests)[number]): Promise<Buffer> =>
      (await createRequest({ request, correlationId: 5, clientId: 'c' })).buffer
    const flexible = await frame(requests[3]!)
    // Length, API 9, version 7, correlation id, client id, tags, then the group's compact name.
    assert.deepEqual([...flexible.subarray(4, 18)], [0, 9, 0, 7, 0, 0, 0, 5, 0, 1, 99, 0, 2, 103])
    assert.equal(flexible.readInt32BE(), flexible.length - 4)
    const plain = await frame(requests[1]!)
    assert.deepEqual([...plain.subarray(4, 17)], [0, 0, 0, 8, 0, 0, 0, 5, 0, 1, 99, 0xff, 0xff])
  })
})
