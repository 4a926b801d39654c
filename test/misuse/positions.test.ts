import { join } from 'node:path'
import { findJava, run } from '../../deploy/stack/command.ts'
import { kafkaJars } from '../../deploy/stack/kafka.ts'
import { ownServer, sharedKafka, sharedRedis } from '../support/servers.ts'
import { Stage, type Servers } from './support.ts'

const JAVA = 17

describe('positions that somebody has moved, on Kafka', () => {
  let servers: Servers
  let stage: Stage
  let source: string

  before(async function () {
    this.timeout(300_000)
    servers = { ...(await sharedKafka(this)), redis: (await sharedRedis(this)).url }
  })
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

  /** Kafka's own tool, as people use it. */
  async function kafkaConsumerGroups(...args: readonly string[]): Promise<void> {
    const java = await findJava(JAVA)
    const tool = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
    const flags = ['-XX:TieredStopAtLevel=1', '-Xmx128m', '-cp', join(await kafkaJars(), '*')]
    const group = ['--bootstrap-server', servers.brokers, '--group', stage.groupId]
    await run(java, [...flags, tool, ...group, ...args], { timeoutMs: 150_000 })
  }

  it('offsets that the tool has reset are refused with both choices, and go on when they are set back', async function () {
    await ownServer(this, kafkaJars)
    await kafkaConsumerGroups('--reset-offsets', '--to-earliest', '--topic', `${source}:0`, '--execute')
    const refused = await stage.refusal()
    const position = /Set it back to (\d+), or replay the pipeline/.exec(refused.message)?.[1]
    await stage.assertRefused('GROUP_RESET', new RegExp(`${source} partition 0: the group's offset is 0`))
    await kafkaConsumerGroups(
      ...['--reset-offsets', '--to-offset', position ?? 'none', '--topic', `${source}:0`, '--execute'],
    )
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('a group that was deleted costs nothing: the tasks know where they stand', async () => {
    await stage.deleteGroup()
    await stage.start()
    await stage.assertUndisturbed()
  })

  it('records that were deleted before they were processed stop the start, and nothing is skipped', async () => {
    const partitions = [0, 1].map((partition) => ({ topic: source, partition }))
    const ranges = await stage.log.admin.offsets(partitions)
    await stage.log.admin.deleteRecords(partitions.map((at, i) => ({ ...at, offset: ranges[i]!.stable })))
    const says = [
      new RegExp(`${source} partition \\d: the task stands at \\d+, but the log holds \\d+ to \\d+`),
    ]
    await stage.assertRefused('POSITION_OUT_OF_RANGE', ...says, /replay the pipeline/)
    // As its message says: what is missing is brought in again, and the pipeline replayed.
    await stage.sendAgain()
    await stage.startOver()
    await stage.start()
    await stage.assertUndisturbed()
  })
})
