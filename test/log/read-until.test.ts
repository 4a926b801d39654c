import assert from 'node:assert/strict'
import { BatchBuilder } from '../../log/batch.ts'
import { readUntil } from '../../log/read-until.ts'
import { SimulatedCluster } from '../../log/simulated/cluster.ts'
import { connect } from '../../log/simulated/simulated-log.ts'
import { CalmWire } from './simulated/calm-wire.ts'

const PLACE = { topic: 'topic', partition: 0 }

describe('reading a partition up to an offset', () => {
  it('gives each record below it and none behind, wherever batches begin and end', async () => {
    const wire = new CalmWire()
    const log = connect(new SimulatedCluster(wire, { joinsBatches: true }), wire)
    await log.admin.createTopics([{ name: PLACE.topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const producer = log.idempotentProducer()
    let written = 0
    for (const count of [3, 1, 4]) {
      const batch = new BatchBuilder(PLACE.topic, 0)
      for (let i = 0; i < count; i++) batch.append(null, Buffer.from(String(written++)))
      await producer.send([batch])
    }
    let batches = 0
    for (let end = 0; end <= written; end++) {
      const seen: number[] = []
      await readUntil(log, PLACE, { from: 0, end }, (batch) => {
        batches++
        assert.ok(batch.nextOffset <= end)
        for (let i = 0; i < batch.count; i++) {
          assert.equal(batch.offsetAt(i), Number(batch.valueAt(i)!.toString()))
          seen.push(batch.offsetAt(i))
        }
      })
      assert.deepEqual(seen, [...Array(end).keys()])
    }
    assert.equal(batches, written, 'several of the log’s batches came as one')
    await log.close()
    wire.stop()
  })
})
