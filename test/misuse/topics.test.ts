import assert from 'node:assert/strict'
import { sharedKafka, sharedRedis } from '../support/servers.ts'
import { assertSays, pipelineOf, Stage, type Servers } from './support.ts'

const REPLAY = /[Rr]eplay the pipeline/

describe('topics that somebody has changed, on Kafka', () => {
  let servers: Servers
  let stage: Stage
  let source: string

  before(async function () {
    this.timeout(300_000)
    servers = { ...(await sharedKafka(this)), redis: (await sharedRedis(this)).url }
  })
  /** Each has state of windows that are open, and input that is not yet processed. */
  beforeEach(async () => {
    stage = await Stage.open(servers)
    source = stage.topic('orders')
    await stage.setUp()
    await stage.send(30)
    const running = await stage.start()
    await stage.processed()
    await running.stop()
    await stage.send(10)
  })
  afterEach(() => stage.close())

  const makeSource = (partitions: number): Promise<void> =>
    stage.log.admin.createTopics([{ name: source, partitions, cleanup: 'delete', retentionMs: -1 }])

  it('another number of partitions is refused with the one that the state has, which goes on', async () => {
    const refused = await stage.refusal(stage.planned({ partitions: 4 }))
    assertSays(
      refused,
      'INCOMPATIBLE_TOPOLOGY',
      /partitions: 2 when it was written, 4 now/,
      /Undo the change/,
    )
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('another window is refused with the difference, and the old one goes on', async () => {
    const refused = await stage.refusal(stage.planned({ pipeline: pipelineOf({ window: '2m' }) }))
    const difference = /'by-customer' windows: tumbling 60000 ms when it was written, tumbling 120000 ms now/
    assertSays(refused, 'INCOMPATIBLE_TOPOLOGY', difference, /Undo the change/)
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('a source made again with fewer partitions is refused until it has them, and then for its records', async () => {
    await stage.log.admin.deleteTopic(source)
    await makeSource(1)
    const command = `kafka-topics.sh --create --topic ${source} --partitions 2`
    await stage.assertRefused(
      'PARTITIONS_CHANGED',
      /has 1 partition, but .* built for 2/,
      new RegExp(command),
    )
    await stage.log.admin.deleteTopic(source)
    await makeSource(2)
    await stage.assertRefused('INPUT_RECREATED', new RegExp(`${source} partition \\d`), REPLAY)
    await stage.sendAgain()
    await stage.startOver()
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('a source that grew is refused, whatever number is asked for, until the pipeline is replayed', async () => {
    await stage.addPartitions(source, 3)
    const says = [/has 3 partitions, but .* built for 2/, /replay the pipeline with 3 partitions/]
    await stage.assertRefused('PARTITIONS_CHANGED', ...says)
    const grown = stage.planned({ partitions: 3 })
    assertSays(await stage.refusal(grown), 'PARTITIONS_CHANGED', ...says)
    await stage.startOver()
    await stage.start(grown)
    await stage.assertUndisturbed(grown)
  })

  it('a source that grows under a running worker stops it, though nobody joins the group', async () => {
    const running = await stage.start()
    await stage.processed()
    await stage.addPartitions(source, 3)
    assertSays(await running.ended, 'PARTITIONS_CHANGED', /has 3 partitions, but .* built for 2/)
  })

  for (const kind of ['changelogTopic', 'windowsTopic'] as const) {
    it(`a ${kind === 'changelogTopic' ? '-changelog' : '-windows'} topic that was deleted is refused, start after start`, async () => {
      const topic = stage.plan.subTopologies[0]![kind]
      await stage.log.admin.deleteTopic(topic)
      const says = [new RegExp(`${topic} partition \\d: deleted and made again`), REPLAY]
      await stage.assertRefused('CHANGELOG_LOST', ...says)
      await stage.assertRefused('CHANGELOG_LOST', ...says)
      await stage.startOver()
      await stage.start()
      await stage.assertUndisturbed()
    })
  }

  it('a changelog that is deleted under a running worker stops it, and nothing is committed without', async () => {
    const running = await stage.start(stage.plan, { retryTimeoutMs: 6_000 })
    await stage.processed()
    const topic = stage.plan.subTopologies[0]!.changelogTopic
    await stage.log.admin.deleteTopic(topic)
    await stage.send(10)
    assertSays(
      await running.ended,
      'TOPIC_MISSING',
      new RegExp(`Topic ${topic} is gone`),
      /replay the pipeline/,
    )
    await running.stop()
    await stage.assertRefused('CHANGELOG_LOST', REPLAY)
    await stage.startOver()
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('records of open windows that were deleted are refused where the state is gone too', async () => {
    const { windowsTopic: topic } = stage.plan.subTopologies[0]!
    const partitions = [0, 1].map((partition) => ({ topic, partition }))
    const ranges = await stage.log.admin.offsets(partitions)
    await stage.log.admin.deleteRecords(partitions.map((at, i) => ({ ...at, offset: ranges[i]!.stable })))
    await stage.loseState()
    await stage.assertRefused(
      'CHANGELOG_LOST',
      new RegExp(`of ${topic} partition \\d`),
      /retention has to be -1/,
    )
    await stage.startOver()
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('a source that is made again under a running worker stops it, and is not read from another offset', async () => {
    const running = await stage.start()
    await stage.processed()
    await stage.log.admin.deleteTopic(source)
    await makeSource(2)
    const failure = await running.ended
    assert.match(String(failure), new RegExp(`${source}.* deleted and made again`))
    await running.stop()
    await stage.sendAgain()
    await stage.assertRefused('INPUT_RECREATED', REPLAY)
    await stage.startOver()
    await stage.start()
    await stage.assertUndisturbed()
  })
})
