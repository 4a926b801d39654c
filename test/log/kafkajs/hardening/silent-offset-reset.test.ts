import assert from 'node:assert/strict'
import { append, fresh, makeTopic, rejectsWith, TestMember } from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { openTestLog, plainKafkajs } from '../support.ts'
import { until } from '../../../support/until.ts'

describe('a committed offset that is not in the log', () => {
  it('KafkaJS goes on from another, and commits that; here it is an error, and the offset stays', async function () {
    const { brokers } = await sharedKafka(this)
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a', 'b', 'c'])
    const kafkajs = plainKafkajs(brokers)
    const admin = kafkajs.admin()
    await admin.connect()
    const committed = async (groupId: string): Promise<string> =>
      (await admin.fetchOffsets({ groupId, topics: [topic] }))[0]!.partitions[0]!.offset
    const [theirs, ours] = [fresh('group'), fresh('group')]
    for (const groupId of [theirs, ours]) {
      await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '100' }] })
    }

    const consumer = kafkajs.consumer({ groupId: theirs, maxWaitTimeInMs: 100 })
    const seen: string[] = []
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({ eachMessage: async ({ message }) => void seen.push(String(message.value)) })
    await until(() => seen.length === 3, 'everything to be read once more')
    await consumer.disconnect()
    assert.notEqual(await committed(theirs), '100')

    const member = new TestMember(log, ours, [[topic]])
    await rejectsWith('OFFSET_OUT_OF_RANGE', async () => {
      for (;;) await member.consumer.poll(1_000_000, 100)
    })
    assert.equal(await committed(ours), '100')
    await member.close()
    await admin.disconnect()
    await log.close()
  })
})
