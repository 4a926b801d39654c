import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { encodeSourceRecord, NEW_SOURCE, partitionOfSource } from '../../bridge/positions.ts'
import { SourcesElsewhere } from '../../cli/sources-elsewhere.ts'
import { BatchBuilder } from '../../log/batch.ts'
import { createMemoryLog } from '../../log/embedded/embedded-log.ts'
import type { Log } from '../../log/port.ts'

const TOPIC = 'app.sources'
const PARTITIONS = 3

describe('sources that other processes bridge', () => {
  let log: Log
  beforeEach(async () => {
    log = await createMemoryLog()
    await log.admin.createTopics([
      { name: TOPIC, partitions: PARTITIONS, cleanup: 'compact', retentionMs: -1 },
    ])
  })
  afterEach(() => log.close())

  const elsewhere = (finite = true): SourcesElsewhere =>
    new SourcesElsewhere({ log, application: 'app', sources: ['a', 'b'], finite })

  async function write(name: string, t: number | null, unclosedE: number | null): Promise<void> {
    const { key, value } = encodeSourceRecord(name, { ...NEW_SOURCE, t, unclosedE })
    const batch = new BatchBuilder(TOPIC, partitionOfSource(name, PARTITIONS))
    batch.append(Buffer.from(key), Buffer.from(value))
    const producer = log.idempotentProducer()
    await producer.send([batch])
    await producer.close()
  }

  it('have ended when an end mark stands behind all that was read', async () => {
    let outcome: string | null = null
    const running = elsewhere()
      .run(new AbortController().signal)
      .then((result) => (outcome = result.outcome))
    await write('a', 5, 5)
    await write('a', 5, null)
    for (let i = 0; i < 10; i++) await turn()
    assert.equal(outcome, null, 'b has read nothing yet')
    await write('b', 7, 7)
    await write('b', 7, null)
    await running
    assert.equal(outcome, 'ended')
  })

  it('have ended though one of them was empty', async () => {
    await write('a', 5, null)
    await write('b', null, null)
    assert.deepEqual(await elsewhere().run(new AbortController().signal), { outcome: 'ended' })
  })

  for (const [what, t, e] of [
    ['have read nothing that is valid', null, null],
    ['are still being read', 5, 5],
  ] as const) {
    it(`have not ended while they ${what}`, async () => {
      await write('a', t, e)
      await write('b', null, null)
      const stop = new AbortController()
      const running = elsewhere().run(stop.signal)
      for (let i = 0; i < 10; i++) await turn()
      stop.abort()
      assert.deepEqual(await running, { outcome: 'stopped' })
    })
  }

  it('never end where nobody asked for an end', async () => {
    await write('a', 5, null)
    await write('b', 5, null)
    const stop = new AbortController()
    const running = elsewhere(false).run(stop.signal)
    stop.abort()
    assert.deepEqual(await running, { outcome: 'stopped' })
  })
})
