import assert from 'node:assert/strict'
import { decodeRecords } from '../../../../log/kafkajs/record-batch/decode.ts'
import { fetchRequest, type FetchResult } from '../../../../log/kafkajs/requests/fetch.ts'
import { metadataRequest } from '../../../../log/kafkajs/requests/metadata.ts'
import { offsetFetchRequest } from '../../../../log/kafkajs/requests/offset-fetch.ts'
import {
  deleteRecordsRequest,
  EARLIEST,
  LATEST,
  listOffsetsRequest,
} from '../../../../log/kafkajs/requests/offsets.ts'
import { produceRequest, type ProducedPartition } from '../../../../log/kafkajs/requests/produce.ts'
import {
  addOffsetsToTxnRequest,
  addPartitionsToTxnRequest,
  endTxnRequest,
  initProducerIdRequest,
  txnOffsetCommitRequest,
  type TransactionIdentity,
} from '../../../../log/kafkajs/requests/transactions.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { encode, textRecord } from '../record-batch/support.ts'
import { errorsOf, fresh, makeTopic, RawConnection } from './support.ts'
import { kafkajs } from '../record-batch/kafkajs.ts'

const TIMEOUT_MS = 10_000
const NO_ERROR = 0

let brokers: string
let kafka: RawConnection
/** Undefined where there is no broker to be had. */
let opened: RawConnection | undefined

async function initialised(transactionalId: string | null = fresh('tx')): Promise<TransactionIdentity> {
  const request = initProducerIdRequest({ transactionalId, transactionTimeoutMs: TIMEOUT_MS })
  const { errorCode, producerId, producerEpoch } = await kafka.settle(request, (result) => result.errorCode)
  assert.equal(errorCode, NO_ERROR)
  return { transactionalId: transactionalId ?? '', producerId, producerEpoch }
}

interface Sent {
  readonly topic: string
  readonly partition?: number
  readonly values: string[]
  readonly baseSequence?: number
  readonly key?: string
}

async function produce(producer: TransactionIdentity, ...sent: Sent[]): Promise<ProducedPartition[]> {
  const isTransactional = producer.transactionalId !== ''
  const partitions = sent.map(({ topic, partition = 0, values, baseSequence = 0, key = 'k' }) => {
    const records = values.map((value) => textRecord(value, key))
    const options = { ...producer, baseSequence, isTransactional, timestampMs: Date.now() }
    return { topic, partition, records: encode(records, options) }
  })
  const transactionalId = isTransactional ? producer.transactionalId : null
  return kafka.send(produceRequest({ transactionalId, timeoutMs: TIMEOUT_MS, partitions }))
}

async function add(
  producer: TransactionIdentity,
  ...partitions: { topic: string; partition: number }[]
): Promise<void> {
  const results = await kafka.settle(
    addPartitionsToTxnRequest(producer, partitions),
    (all) => all.find(({ errorCode }) => errorCode !== NO_ERROR)?.errorCode ?? NO_ERROR,
  )
  assert.ok(
    results.every(({ errorCode }) => errorCode === NO_ERROR),
    JSON.stringify(results),
  )
  assert.equal(results.length, partitions.length)
}

const end = (producer: TransactionIdentity, commit: boolean): Promise<number> =>
  kafka.settle(endTxnRequest(producer, commit), (code) => code)

const fetch = (
  ...partitions: { topic: string; partition: number; fetchOffset: number }[]
): Promise<FetchResult> =>
  kafka.send(
    fetchRequest({
      maxWaitMs: 100,
      minBytes: 1,
      maxBytes: 1_000_000,
      partitions: partitions.map((partition) => ({ ...partition, maxBytes: 1_000_000 })),
    }),
  )

async function valuesIn(topic: string, fetchOffset = 0): Promise<{ values: string[]; nextOffset: number }> {
  const [partition] = (await fetch({ topic, partition: 0, fetchOffset })).partitions
  const { batches, nextOffset } = decodeRecords({ ...partition!, fetchOffset })
  const values = batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => batch.valueAt(i)!.toString()),
  )
  return { values, nextOffset }
}

describe('a request to a real broker:', () => {
  before(async function () {
    this.timeout(180_000)
    brokers = (await sharedKafka(this)).brokers
    kafka = opened = await RawConnection.open(brokers)
    // A young broker makes its internal topics when it is first asked who coordinates.
    await kafka.coordinator('group')
    await kafka.coordinator('transaction')
  })

  after(() => opened?.close())

  describe('Metadata', () => {
    it('gives topic ids, the cluster id and leaders, and an error for each topic that is missing', async () => {
      const topic = await makeTopic(brokers, 3)
      const missing = fresh('missing')
      const metadata = await kafka.send(metadataRequest([topic, missing]))
      assert.match(metadata.clusterId!, /^[\w-]{22}$/)
      assert.ok(metadata.brokers.some(({ nodeId }) => nodeId === metadata.controllerId))
      const [found, absent] = [topic, missing].map((name) =>
        metadata.topics.find((each) => each.name === name)!,
      )
      assert.match(found!.topicId!, /^[\w-]{22}$/)
      assert.equal(found!.errorCode, NO_ERROR)
      assert.deepEqual(found!.partitions.map(({ partition }) => partition).toSorted(), [0, 1, 2])
      for (const { leader, replicas, inSyncReplicas, errorCode } of found!.partitions) {
        assert.ok(metadata.brokers.some(({ nodeId }) => nodeId === leader))
        assert.ok(replicas.includes(leader) && inSyncReplicas.includes(leader))
        assert.equal(errorCode, NO_ERROR)
      }
      assert.deepEqual([absent!.errorCode, absent!.topicId, absent!.partitions], [3, null, []])
      // It was not made by asking.
      assert.equal((await kafka.send(metadataRequest([missing]))).topics[0]!.errorCode, 3)
    })

    it('without names gives all topics', async () => {
      const topic = await makeTopic(brokers, 1)
      const { topics } = await kafka.send(metadataRequest(null))
      assert.ok(topics.some(({ name }) => name === topic))
    })
  })

  describe('Produce', () => {
    it('writes batches made beforehand to several partitions, and says for each where it stands', async () => {
      const [one, two] = [
        await makeTopic(brokers, 2),
        await makeTopic(brokers, 1, { 'message.timestamp.type': 'LogAppendTime' }),
      ]
      const producer = await initialised(null)
      const before = Date.now()
      const results = await produce(
        producer,
        { topic: one, partition: 1, values: ['a', 'b'] },
        { topic: two, values: ['c'] },
        { topic: one, partition: 0, values: ['d'] },
      )
      assert.deepEqual(errorsOf(results), { [`${one}-0`]: 0, [`${one}-1`]: 0, [`${two}-0`]: 0 })
      const again = await produce(producer, { topic: one, partition: 1, values: ['e'], baseSequence: 2 })
      assert.equal(again[0]!.baseOffset, 2)
      const appended = results.find(({ topic }) => topic === two)!
      assert.ok(appended.logAppendTimeMs >= before && appended.logAppendTimeMs <= Date.now())
      assert.deepEqual(await valuesIn(two), { values: ['c'], nextOffset: 1 })
    })

    it('says what each partition refuses, and why, and keeps what the others take', async () => {
      const compact = await makeTopic(brokers, 1, { 'cleanup.policy': 'compact' })
      const plain = await makeTopic(brokers, 1)
      const missing = fresh('missing')
      const producer = await initialised(null)
      const withoutKey = {
        topic: compact,
        partition: 0,
        records: encode([{ key: null, value: Buffer.from('v'), headers: {} }], producer),
      }
      const others = [plain, missing].map((topic) => ({
        topic,
        partition: 0,
        records: encode([textRecord('v')], producer),
      }))
      const results = await kafka.send(
        produceRequest({ transactionalId: null, timeoutMs: TIMEOUT_MS, partitions: [withoutKey, ...others] }),
      )
      assert.deepEqual(errorsOf(results), { [`${compact}-0`]: 87, [`${plain}-0`]: 0, [`${missing}-0`]: 3 })
      assert.match(results.find(({ topic }) => topic === compact)!.errorMessage!, /key/)
    })

    it('takes a batch once, however often it is sent', async () => {
      const topic = await makeTopic(brokers, 1)
      const producer = await initialised(null)
      const first = await produce(producer, { topic, values: ['a'] })
      const second = await produce(producer, { topic, values: ['a'] })
      assert.deepEqual(
        [first, second].map(([result]) => [result!.errorCode, result!.baseOffset]),
        [
          [0, 0],
          [0, 0],
        ],
      )
      const [gap] = await produce(producer, { topic, values: ['c'], baseSequence: 5 })
      assert.equal(gap!.errorCode, 45)
      assert.deepEqual(await valuesIn(topic), { values: ['a'], nextOffset: 1 })
    })
  })

  describe('Fetch', () => {
    it('gives errors and offsets one by one, and the records of all others', async () => {
      const topic = await makeTopic(brokers, 2)
      const missing = fresh('missing')
      await produce(await initialised(null), { topic, values: ['a', 'b'] })
      const { errorCode, partitions } = await fetch(
        { topic, partition: 0, fetchOffset: 0 },
        { topic, partition: 1, fetchOffset: 99 },
        { topic: missing, partition: 0, fetchOffset: 0 },
      )
      assert.equal(errorCode, NO_ERROR)
      assert.deepEqual(errorsOf(partitions), { [`${topic}-0`]: 0, [`${topic}-1`]: 1, [`${missing}-0`]: 3 })
      const good = partitions.find((each) => each.topic === topic && each.partition === 0)!
      assert.deepEqual([good.highWatermark, good.lastStableOffset, good.logStartOffset], [2, 2, 0])
      assert.equal(decodeRecords({ ...good, fetchOffset: 0 }).batches[0]!.count, 2)
    })

    it('gives the first batch whole and cuts only what is behind it, however few bytes are asked for', async () => {
      const topic = await makeTopic(brokers, 2)
      const producer = await initialised(null)
      const values = ['x'.repeat(3_000), 'y'.repeat(3_000)]
      for (const partition of [0, 1]) {
        await produce(producer, { topic, partition, values })
        await produce(producer, { topic, partition, values, baseSequence: 2 })
      }
      for (const maxBytes of [1, 100, 6_500, 9_000, 1_000_000]) {
        const partitions = [0, 1].map((partition) => ({ topic, partition, fetchOffset: 1, maxBytes }))
        const fetched = await kafka.send(fetchRequest({ maxWaitMs: 0, minBytes: 0, maxBytes, partitions }))
        const next = fetched.partitions.map((each) => decodeRecords({ ...each, fetchOffset: 1 }).nextOffset)
        const [first, second] = next.toSorted((a, b) => b - a) as [number, number]
        assert.ok(first >= 2, `${maxBytes}: ${next.join(', ')}`)
        assert.ok([1, 2, 4].includes(second), `${maxBytes}: ${next.join(', ')}`)
      }
    })

    it('hides open and aborted transactions, and moves behind their marks', async () => {
      const topic = await makeTopic(brokers, 1)
      const [one, two] = [await initialised(), await initialised()]
      await add(one, { topic, partition: 0 })
      await produce(one, { topic, values: ['one, aborted'] })
      await add(two, { topic, partition: 0 })
      await produce(two, { topic, values: ['two, aborted'] })
      const plain = await initialised(null)
      await produce(plain, { topic, values: ['plain'] })
      assert.deepEqual(await valuesIn(topic), { values: [], nextOffset: 0 })
      assert.equal(await end(two, false), NO_ERROR)
      assert.equal(await end(one, false), NO_ERROR)
      await add(one, { topic, partition: 0 })
      await produce(one, { topic, values: ['one, committed'], baseSequence: 1 })
      assert.equal(await end(one, true), NO_ERROR)
      // The markers come after the answer, the last of them at offset 6.
      const stable = listOffsetsRequest({
        partitions: [{ topic, partition: 0, at: LATEST }],
        isolation: 'read_committed',
      })
      while ((await kafka.send(stable))[0]!.offset < 7);
      assert.deepEqual(await valuesIn(topic), { values: ['plain', 'one, committed'], nextOffset: 7 })
      const [raw] = (await fetch({ topic, partition: 0, fetchOffset: 0 })).partitions
      assert.deepEqual(raw!.abortedTransactions.map(({ firstOffset }) => firstOffset).toSorted(), [0, 1])
      for (let from = 1; from < 7; from++) {
        const wanted = ['plain', 'one, committed'].slice(from <= 2 ? 0 : from <= 5 ? 1 : 2)
        assert.deepEqual(await valuesIn(topic, from), { values: wanted, nextOffset: 7 })
      }
    })
  })

  describe('ListOffsets and DeleteRecords', () => {
    it('tell the start, the stable end and the end, and move the start', async () => {
      const topic = await makeTopic(brokers, 1)
      const missing = fresh('missing')
      await produce(await initialised(null), { topic, values: ['a', 'b', 'c'] })
      const open = await initialised()
      await add(open, { topic, partition: 0 })
      await produce(open, { topic, values: ['open'] })
      const at = async (
        position: number,
        isolation: 'read_committed' | 'read_uncommitted',
      ): Promise<number> =>
        (
          await kafka.send(
            listOffsetsRequest({ partitions: [{ topic, partition: 0, at: position }], isolation }),
          )
        )[0]!.offset
      assert.equal(await at(EARLIEST, 'read_committed'), 0)
      assert.equal(await at(LATEST, 'read_committed'), 3)
      assert.equal(await at(LATEST, 'read_uncommitted'), 4)
      const both = await kafka.send(
        listOffsetsRequest({
          partitions: [
            { topic: missing, partition: 0, at: LATEST },
            { topic, partition: 0, at: LATEST },
          ],
          isolation: 'read_uncommitted',
        }),
      )
      assert.deepEqual(errorsOf(both), { [`${missing}-0`]: 3, [`${topic}-0`]: 0 })

      const deleted = await kafka.send(
        deleteRecordsRequest(
          [
            { topic, partition: 0, offset: 2 },
            { topic: missing, partition: 0, offset: 1 },
          ],
          TIMEOUT_MS,
        ),
      )
      assert.deepEqual(errorsOf(deleted), { [`${topic}-0`]: 0, [`${missing}-0`]: 3 })
      assert.equal(await at(EARLIEST, 'read_committed'), 2)
      assert.equal((await fetch({ topic, partition: 0, fetchOffset: 1 })).partitions[0]!.errorCode, 1)
      const beyond = await kafka.send(deleteRecordsRequest([{ topic, partition: 0, offset: 50 }], TIMEOUT_MS))
      assert.equal(beyond[0]!.errorCode, 1)
      await end(open, false)
    })
  })

  describe('offsets within a transaction', () => {
    /** A group with one member, as KafkaJS joins it. */
    async function joined(
      groupId: string,
    ): Promise<{ groupId: string; memberId: string; generation: number }> {
      const { requests } = kafkajs('protocol/requests')
      const join = (memberId: string): Promise<{ generationId: number; memberId: string }> =>
        kafka.sendKafkaJs(
          requests.JoinGroup.protocol({ version: 4 })({
            groupId,
            memberId,
            sessionTimeout: 30_000,
            rebalanceTimeout: 30_000,
            protocolType: 'consumer',
            groupProtocols: [{ name: 'test', metadata: Buffer.from('m') }],
          }),
        )
      let memberId = ''
      for (;;) {
        try {
          const { generationId, memberId: joinedAs } = await join(memberId)
          const sync = { groupId, generationId, memberId: joinedAs, groupAssignment: [] }
          await kafka.sendKafkaJs(requests.SyncGroup.protocol({ version: 1 })(sync))
          return { groupId, memberId: joinedAs, generation: generationId }
        } catch (error) {
          // The first answer gives the id to join with; a young broker has no coordinator yet.
          const { type, memberId: given } = error as { type: string; memberId?: string }
          if (type === 'MEMBER_ID_REQUIRED') memberId = given!
          else if (!/COORDINATOR/.test(type)) throw error
        }
      }
    }

    it('are fenced by the generation, unstable while it is open, and stand when it is committed', async () => {
      const topic = await makeTopic(brokers, 2)
      const old = await joined(fresh('group'))
      const committed = { topic, partition: 0, offset: 42, metadata: 'größer' }
      const partitions = [committed, { topic, partition: 1 }]
      const stable = offsetFetchRequest({ groupId: old.groupId, partitions, requireStable: true })
      assert.deepEqual(
        (await kafka.send(stable)).partitions.map(({ offset, errorCode }) => [offset, errorCode]),
        [
          [-1, 0],
          [-1, 0],
        ],
      )

      const producer = await initialised()
      assert.equal(
        await kafka.settle(addOffsetsToTxnRequest(producer, old.groupId), (code) => code),
        NO_ERROR,
      )
      const commit = (generation: number, memberId = old.memberId): Promise<Record<string, number>> =>
        kafka
          .settle(
            txnOffsetCommitRequest(producer, { ...old, generation, memberId }, [committed]),
            (all) => all[0]!.errorCode,
          )
          .then(errorsOf)
      assert.deepEqual(await commit(old.generation - 1), { [`${topic}-0`]: 22 })
      assert.deepEqual(await commit(old.generation, 'somebody'), { [`${topic}-0`]: 25 })
      assert.deepEqual(await commit(old.generation), { [`${topic}-0`]: 0 })

      const pending = await kafka.send(stable)
      assert.equal(pending.errorCode, NO_ERROR)
      assert.deepEqual(errorsOf(pending.partitions), { [`${topic}-0`]: 88, [`${topic}-1`]: 0 })
      const unstable = await kafka.send(
        offsetFetchRequest({ groupId: old.groupId, partitions, requireStable: false }),
      )
      assert.equal(unstable.partitions[0]!.offset, -1)

      assert.equal(await end(producer, true), NO_ERROR)
      let settled = await kafka.send(stable)
      while (settled.partitions.some(({ errorCode }) => errorCode === 88)) settled = await kafka.send(stable)
      const { offset, metadata } = settled.partitions.find(({ partition }) => partition === 0)!
      assert.deepEqual({ offset, metadata }, { offset: 42, metadata: 'größer' })
    })
  })

  describe('a producer that was fenced', () => {
    it('is told so by every request of a transaction', async () => {
      const topic = await makeTopic(brokers, 1)
      const zombie = await initialised()
      await add(zombie, { topic, partition: 0 })
      await produce(zombie, { topic, values: ['a'] })
      const next = await initialised(zombie.transactionalId)
      assert.deepEqual(
        [next.producerId, next.producerEpoch > zombie.producerEpoch],
        [zombie.producerId, true],
      )
      const fenced = [47, 90]
      const added = await kafka.send(addPartitionsToTxnRequest(zombie, [{ topic, partition: 0 }]))
      const [produced] = await produce(zombie, { topic, values: ['b'], baseSequence: 1 })
      for (const code of [
        added[0]!.errorCode,
        produced!.errorCode,
        await kafka.send(addOffsetsToTxnRequest(zombie, fresh('group'))),
        await kafka.send(endTxnRequest(zombie, true)),
      ]) {
        assert.ok(fenced.includes(code), String(code))
      }
      assert.deepEqual((await valuesIn(topic)).values, [])
    })

    it('learns which partition kept a transaction from growing', async () => {
      const topic = await makeTopic(brokers, 1)
      const missing = fresh('missing')
      const producer = await initialised()
      const partitions = [topic, missing].map((name) => ({ topic: name, partition: 0 }))
      const results = await kafka.send(addPartitionsToTxnRequest(producer, partitions))
      assert.deepEqual(errorsOf(results), { [`${topic}-0`]: 55, [`${missing}-0`]: 3 })
    })
  })
})
