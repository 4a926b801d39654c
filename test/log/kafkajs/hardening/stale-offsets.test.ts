import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { fresh, makeTopic, producerOf, TestMember } from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { openTestLog, plainKafkajs } from '../support.ts'
import { until } from '../../../support/until.ts'

describe('offsets that a transaction holds open', () => {
  it('KafkaJS gives the ones before them; here they are waited for', async function () {
    const { brokers } = await sharedKafka(this)
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log)
    const groupId = fresh('group')
    const member = new TestMember(log, groupId, [[topic]]).start()
    await until(() => member.assigned.length === 1, 'the assignment')
    const partition = { topic, partition: 0 }
    await member.consumer.commitOffsets([{ ...partition, offset: 1, metadata: '' }], member.group!)
    const producer = await producerOf(log)
    producer.begin()
    await producer.sendOffsets([{ ...partition, offset: 9, metadata: '' }], member.group!)

    const admin = plainKafkajs(brokers).admin()
    await admin.connect()
    const [stale] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.equal(stale!.partitions[0]!.offset, '1', 'of a transaction that may have been decided')
    await admin.disconnect()

    let isThere = false
    const waiting = member.consumer.committed([partition]).finally(() => (isThere = true))
    await sleep(300)
    assert.equal(isThere, false)
    await producer.commit()
    assert.deepEqual(await waiting, [{ ...partition, offset: 9, metadata: '' }])
    await member.close()
    await log.close()
  })
})
