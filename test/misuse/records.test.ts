import assert from 'node:assert/strict'
import { BatchBuilder } from '../../log/batch.ts'
import { MARK_HEADERS } from '../../schemas/marks.ts'
import { sharedKafka, sharedRedis } from '../support/servers.ts'
import { Stage, type Servers } from './support.ts'

describe('records that nobody can read, on Kafka', () => {
  let servers: Servers
  let stage: Stage

  before(async function () {
    this.timeout(300_000)
    servers = { ...(await sharedKafka(this)), redis: (await sharedRedis(this)).url }
  })
  beforeEach(async () => {
    stage = await Stage.open(servers)
    await stage.setUp()
  })
  afterEach(() => stage.close())

  it('become dead letters with their place and the reason, and the others go on', async () => {
    const topic = stage.topic('orders')
    const foreign = new BatchBuilder(topic, 0)
    const unknownId = Buffer.from([0, 0, 0, 0x7f, 0xff, 1, 2])
    foreign.append(Buffer.from('k'), Buffer.from('{"json": true}'))
    foreign.append(Buffer.from('k'), unknownId)
    foreign.append(Buffer.from('k'), null)
    foreign.append(Buffer.from('k'), Buffer.alloc(0))
    foreign.append(null, Buffer.from('no key, and no mark'))
    foreign.append(null, Buffer.from('no mark'), MARK_HEADERS)
    foreign.append(null, null, MARK_HEADERS)
    foreign.append(null, Buffer.from('{"kind":"unheard-of"}'), MARK_HEADERS)
    foreign.append(null, Buffer.from('null'), MARK_HEADERS)

    // The right header, and behind it less than its schema says.
    const cut = Buffer.from([0, 0, 0, 0, 0, 2])
    cut.writeInt32BE(stage.schemaIds.get(`${topic}-value`)!, 1)
    foreign.append(Buffer.from('k'), cut)

    await stage.send(20)
    const [first] = await stage.produce([foreign])
    await stage.send(20)
    await stage.start()
    await stage.assertUndisturbed()

    const letters = (await stage.deadLetters()).sort((a, b) => a.position - b.position)
    assert.deepEqual(
      letters.map(({ source, partition, position }) => ({ source, partition, position })),
      Array.from({ length: foreign.count }, (_, i) => ({
        source: topic,
        partition: 0,
        position: first! + i,
      })),
    )
    for (const [i, reason] of [
      /of 14 bytes begins with byte 123, not with the schema registry's header/,
      /schema id 32767 is not this pipeline's/,
      /without a value \(tombstone\) is not allowed here/,
      /of 0 bytes is empty/,
      /begins with byte 110/,
      /header millrace-mark is no mark \(.*not valid JSON\)/,
      /is no mark \(it has no value\)/,
      /is no mark \(it is neither a heartbeat/,
      /is no mark \(it is neither a heartbeat/,
      /./,
    ].entries()) {
      assert.match(letters[i]!.reason, reason)
    }
    assert.deepEqual(Buffer.from(letters[1]!.payload), unknownId)
  })
})
