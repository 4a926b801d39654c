import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { encodeSourceRecord, NEW_SOURCE, partitionOfSource } from '../../../bridge/positions.ts'
import { SourcesElsewhere } from '../../../cli/roles/sources-elsewhere.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import { createMemoryLog } from '../../../log/embedded/embedded-log.ts'
import type { Log } from '../../../log/port.ts'

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

  async function write(name: string, t: number | null, isEnded: boolean): Promise<void> {
    const { key, value } = encodeSourceRecord(name, {
      ...NEW_SOURCE,
      t,
      unclosedE: isEnded ? null : t,
      isEnded,
    })
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
    await write('a', 5, false)
    await write('a', 5, true)
    for (let i = 0; i < 10; i++) await turn()
    assert.equal(outcome, null, 'b has read nothing yet')
    await write('b', 7, false)
    await write('b', 7, true)
    await running
    assert.equal(outcome, 'ended')
  })

  it('have ended though nothing in them was valid', async () => {
    await write('a', null, true)
    await write('b', null, true)
    assert.deepEqual(await elsewhere().run(new AbortController().signal), { outcome: 'ended' })
  })

  for (const [what, t] of [
    ['have read nothing that is valid', null],
    ['are still being read', 5],
  ] as const) {
    it(`have not ended while they ${what}`, async () => {
      await write('a', t, false)
      await write('b', null, true)
      const stop = new AbortController()
      const running = elsewhere().run(stop.signal)
      for (let i = 0; i < 10; i++) await turn()
      stop.abort()
      assert.deepEqual(await running, { outcome: 'stopped' })
    })
  }

  it('never end where nobody asked for an end', async () => {
    await write('a', 5, true)
    await write('b', 5, true)
    const stop = new AbortController()
    const running = elsewhere(false).run(stop.signal)
    stop.abort()
    assert.deepEqual(await running, { outcome: 'stopped' })
  })
})
