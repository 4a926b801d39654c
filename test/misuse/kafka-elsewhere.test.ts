import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openKafkaLog } from '../../log/kafkajs/kafka-log.ts'
import {
  freePorts,
  startKafka,
  startRedis,
  type KafkaServers,
  type RedisServers,
} from '../../deploy/stack/servers.ts'
import { FrameProxy } from '../log/kafkajs/frame-proxy.ts'
import { ownServer, sharedKafka } from '../support/servers.ts'
import { assertSays, Stage } from './support.ts'

const API_VERSIONS = 18
/** A broker that comes back waits until its earlier self is given up. */
const settings = { 'broker.session.timeout.ms': '2000', 'broker.heartbeat.interval.ms': '500' }

describe('a Kafka that is not the one it was', function () {
  this.timeout(300_000)
  describe('another cluster behind the same address', () => {
    let directory: string
    let redis: RedisServers
    let kafka: KafkaServers | null = null

    before(async function () {
      this.timeout(300_000)
      redis = await ownServer(this, () => startRedis())
      directory = await mkdtemp(join(tmpdir(), 'millrace-misuse-'))
    })
    after(async () => {
      await kafka?.stop()
      await redis.stop()
      await rm(directory, { recursive: true, force: true })
    })

    it('stops a running worker; a start there says whose state it replaces; the first one goes on as if nothing had been', async function () {
      const [port] = await freePorts(1)
      const first = { port: port!, dir: join(directory, 'first'), settings }
      kafka = await ownServer(this, () => startKafka(first))
      const servers = { brokers: kafka.env.KAFKA_BROKERS, redis: redis.env.REDIS_URL }
      const application = 'moved'
      // Longer than the other cluster takes to start.
      let stage = await Stage.open(servers, { application, kafka: { retryTimeoutMs: 240_000 } })
      await stage.setUp()
      await stage.send(30)
      const running = await stage.start()
      await stage.processed()
      const { given } = stage

      await kafka.brokers[0]!.server.kill()
      await kafka.stop()
      kafka = await startKafka({ port: port!, settings })
      assertSays(
        await running.ended,
        'CLUSTER_CHANGED',
        new RegExp(`Behind 127\\.0\\.0\\.1:${port!} stands cluster`),
        /Mend the address/,
      )
      await stage.close()

      // Nothing of the pipeline is there: it begins anew, from nothing, and says so.
      stage = await Stage.open(servers, { application })
      await stage.setUp()
      const anew = await stage.start()
      await stage.send(5)
      await stage.processed()
      assert.match(
        anew.reports.join('\n'),
        /holds state of 'moved' from another Kafka cluster .* Nothing is lost: .* Check KAFKA_BROKERS/,
      )
      await stage.assertUndisturbed()
      await stage.close()

      await kafka.brokers[0]!.server.kill()
      await kafka.stop()
      kafka = await startKafka(first)
      stage = await Stage.open(servers, { application })
      await stage.setUp()
      stage.given.push(...given)
      await stage.send(10)
      const again = await stage.start()
      await stage.assertUndisturbed()
      assert.match(again.reports.join('\n'), /restored \d+ changelog records into its state/)
      await stage.close()
    })
  })

  it('an old one is refused with the least version that will do', async function () {
    const { brokers } = await sharedKafka(this)
    const proxy = await FrameProxy.start(brokers)
    // As Kafka 2.7 answers, which has neither DescribeTransactions nor topic ids.
    proxy.rewrite = (apiKey, answer) => (apiKey === API_VERSIONS ? ageless(answer) : answer)
    try {
      const options = { brokers: [`127.0.0.1:${proxy.port}`], retryTimeoutMs: 2_000 }
      await assert.rejects(openKafkaLog(options), (error: Error) => {
        assertSays(
          error,
          'UNSUPPORTED_VERSION',
          /is too old: Metadata is needed in version 10, and it has 0 to 9/,
          /Upgrade it to 3\.0 at least/,
        )
        return true
      })
    } finally {
      await proxy.stop()
    }
  })
})

/** The answer to ApiVersions v2, whose Metadata ends at version 9. */
function ageless(answer: Buffer): Buffer {
  const old = Buffer.from(answer)
  // Size, correlation, error code, then the array.
  const count = old.readInt32BE(10)
  for (let i = 0; i < count; i++) {
    const at = 14 + 6 * i
    if (old.readInt16BE(at) === 3) old.writeInt16BE(9, at + 4)
  }
  return old
}
