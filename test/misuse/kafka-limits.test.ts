import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { files } from '../../bridge/files/files-input.ts'
import { sourcesTopicConfig } from '../../bridge/positions.ts'
import { openSources } from '../../bridge/sources.ts'
import { sharedKafka, sharedRedis } from '../support/servers.ts'
import { assertSays, order, orderAt, Stage, type Servers } from './support.ts'

const LIMIT = 20_000
const HUGE = 'x'.repeat(2 * LIMIT)

describe('topics that take less than a pipeline writes, on Kafka', () => {
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

  it('take many small records in batches that fit, although together they are too large', async () => {
    for (const { name } of stage.plan.topics) await stage.setTopic(name, { 'max.message.bytes': '2000' })
    await stage.send(500)
    await stage.start()
    await stage.assertUndisturbed()
  })

  for (const [what, node] of [
    ['a changelog', 'orders-windows'],
    ['an output', 'orders-customers'],
  ] as const) {
    it(`stop the worker with a record that is too large for ${what}, and go on when the limit is raised`, async () => {
      await stage.send(20)
      const running = await stage.start()
      await stage.processed()
      const topic =
        node === 'orders-windows'
          ? stage.topic(node)
          : stage.plan.sinks.find((s) => s.node.name === 'd.customers')!.topic
      await stage.setTopic(topic, { 'max.message.bytes': String(LIMIT) })
      await stage.send(20, ['ann', HUGE])
      if (node !== 'orders-windows') await stage.end()
      const failure = await running.ended
      const says = new RegExp(`1 record of ${topic}-\\d \\(\\d{5} bytes\\) refused`)
      assertSays(failure, 'RECORD_TOO_LARGE', says, /max\.message\.bytes/)
      await running.stop()
      await stage.assertRefused('RECORD_TOO_LARGE', says)
      await stage.setTopic(topic, { 'max.message.bytes': '1000000' })
      await stage.startWhenHeard('RECORD_TOO_LARGE')
      await stage.assertUndisturbed()
    })
  }

  it('make a record that the source topic does not take a dead letter, with what of it fits, and the others go on', async () => {
    await stage.setTopic(stage.topic('orders'), { 'max.message.bytes': String(LIMIT) })
    await stage.setTopic(stage.plan.deadLetterTopic, { 'max.message.bytes': String(LIMIT) })
    const topics = [{ name: `${stage.application}.sources`, ...sourcesTopicConfig(2) }]
    await stage.log.admin.createTopics(topics)
    const directory = await mkdtemp(join(tmpdir(), 'millrace-misuse-'))
    try {
      const good = Array.from({ length: 20 }, (_, i) => orderAt(i, ['ann', 'bob'][i % 2]!))
      const lines = [...good, { ...orderAt(20, 'ann'), id: HUGE }].map((each) => JSON.stringify(each))
      lines.splice(7, 0, lines.pop()!)
      const path = join(directory, 'orders.ndjson')
      await writeFile(path, lines.map((line) => `${line}\n`).join(''))
      const sources = await openSources({
        log: stage.log,
        application: stage.application,
        sources: [
          {
            name: 'orders',
            topic: stage.topic('orders'),
            contract: order,
            schemaId: stage.schemaIds.get(`${stage.topic('orders')}-value`)!,
            input: files({ paths: [path] }),
          },
        ],
        deadLetterSchemaId: stage.schemaIds.get(`${stage.plan.deadLetterTopic}-value`)!,
        finite: true,
      })
      await sources.run(new AbortController().signal)
      stage.given.push(...good)
      await stage.start()
      await stage.assertUndisturbed()
      const [letter, ...others] = await stage.deadLetters()
      assert.equal(others.length, 0)
      assert.equal(letter!.source, path)
      assert.equal(letter!.position, Buffer.byteLength(lines.slice(0, 7).join('\n')) + 1)
      const reason = new RegExp(
        `too large for topic ${stage.topic('orders')} \\(\\d{5} bytes, its max.message.bytes is ${LIMIT}\\)`,
      )
      assert.match(letter!.reason, reason)
      assert.match(letter!.reason, /kept here: the first \d{5} of \d{5} bytes/)
      assert.ok(lines[7]!.startsWith(Buffer.from(letter!.payload).toString()))
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
