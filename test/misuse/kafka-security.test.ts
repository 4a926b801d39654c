import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import kafkajs, { type AclOperationTypes, type AclResourceTypes } from 'kafkajs'
import type { LogError } from '../../log/errors.ts'
import { openKafkaLog, type KafkaLogOptions } from '../../log/kafkajs/kafka-log.ts'
import { startKafka, type KafkaServers } from '../../deploy/stack/servers.ts'
import { Started } from '../end-to-end/support.ts'
import { plainKafkajs } from '../log/kafkajs/support.ts'
import { ownServer, sharedRedis } from '../support/servers.ts'
import { assertSays, Stage } from './support.ts'

const {
  AclOperationTypes: Op,
  AclPermissionTypes,
  AclResourceTypes: Resource,
  ResourcePatternTypes,
} = kafkajs

const BIN = join(import.meta.dirname, '..', '..', 'cli', 'millrace.js')
const USER = 'app'
const sasl = { mechanism: 'plain', username: USER, password: 'right' } as const

describe('a Kafka that lets nobody in without a name', () => {
  let kafka: KafkaServers
  let brokers: string
  let redis: string
  let ssl: { readonly ca: string }

  before(async function () {
    this.timeout(300_000)
    redis = (await sharedRedis(this)).url
    kafka = await ownServer(this, () =>
      startKafka({ sasl: { users: { [USER]: 'right' } }, tls: true, acls: true }),
    )
    brokers = kafka.env.KAFKA_BROKERS
    ssl = { ca: readFileSync(kafka.certificates!.caFile, 'utf8') }
  })
  after(() => kafka.stop())

  async function refusalOf(options: Partial<KafkaLogOptions>): Promise<LogError> {
    try {
      const log = await openKafkaLog({ brokers: [brokers], retryTimeoutMs: 1_500, ...options })
      await log.close()
    } catch (error) {
      return error as LogError
    }
    return assert.fail('it was let in')
  }

  it('refuses a wrong password at once, with the mechanism and the broker, and never shows it', async () => {
    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
      const refused = await refusalOf({ ssl, sasl: { ...sasl, mechanism, password: 'wrong-secret' } })
      assertSays(
        refused,
        'UNAUTHORIZED',
        new RegExp(`${brokers} refused the log-in by ${mechanism}`),
        /mend the user, the password/,
      )
      assert.doesNotMatch(refused.message, /wrong-secret/)
    }
  })

  it('ends the command with the same words, and as a failure', async () => {
    const child = spawn(process.execPath, [BIN, 'process', 'orders'], {
      cwd: tmpdir(),
      env: {
        PATH: process.env['PATH'],
        KAFKA_BROKERS: brokers,
        KAFKA_TLS_CA: kafka.certificates!.caFile,
        KAFKA_SASL_MECHANISM: 'plain',
        KAFKA_SASL_USERNAME: USER,
        KAFKA_SASL_PASSWORD: 'wrong-secret',
        REDIS_URL: redis,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    const { exitCode, stdout, stderr } = await new Started(child).said
    assert.match(stderr, new RegExp(`^error UNAUTHORIZED: Kafka at ${brokers} refused the log-in by plain`))
    assert.doesNotMatch(stdout + stderr, /wrong-secret/)
    assert.equal(exitCode, 1)
  })

  it('refuses who does not log in', async () => {
    assertSays(await refusalOf({ ssl }), 'UNAVAILABLE', /by TLS and without a log-in: check/)
  })

  it('is not trusted without its authority, and says which setting wants it', async () => {
    const refused = await refusalOf({ ssl: true, sasl })
    assertSays(refused, 'UNAUTHORIZED', /certificate of Kafka at .* is not trusted/, /authority/)
  })

  it('says that TLS is wanted to who speaks without', async () => {
    assertSays(await refusalOf({ sasl }), 'UNAVAILABLE', /without TLS and logging in by plain: check/)
  })

  it('names the topic, the group and the transactional id for which an ACL is missing, and goes on with each', async () => {
    const stage = await Stage.open({ brokers, redis }, { kafka: { ssl, sasl } }, kafka.internalBrokers[0]!)
    const admin = plainKafkajs(kafka.internalBrokers[0]!).admin()
    await admin.connect()
    const rule = (resourceType: AclResourceTypes, operation: AclOperationTypes) => ({
      resourceType,
      resourceName: stage.application,
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal: `User:${USER}`,
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    })
    const grant = (
      resource: AclResourceTypes,
      ...operations: readonly AclOperationTypes[]
    ): Promise<unknown> => admin.createAcls({ acl: operations.map((operation) => rule(resource, operation)) })
    try {
      await stage.setUp()
      await stage.send(20)
      const { application } = stage
      const refused = (...says: readonly RegExp[]): Promise<void> =>
        stage.assertRefused('UNAUTHORIZED', ...says, /grant it by an ACL \(kafka-acls\.sh\)/)
      await refused(new RegExp(`topic ${application}\\.\\S+: TOPIC_AUTHORIZATION_FAILED`))
      await grant(Resource.TOPIC, Op.READ, Op.DESCRIBE_CONFIGS, Op.DELETE)
      await refused(new RegExp(`group ${stage.groupId}: GROUP_AUTHORIZATION_FAILED`))
      await grant(Resource.GROUP, Op.READ)
      await refused(new RegExp(`${application}-process-\\S+: TRANSACTIONAL_ID_AUTHORIZATION_FAILED`))
      await grant(Resource.TRANSACTIONAL_ID, Op.WRITE)
      await refused(new RegExp(`, ${application}\\.\\S+-changelog-\\d: TOPIC_AUTHORIZATION_FAILED`))
      await grant(Resource.TOPIC, Op.WRITE)
      const running = await stage.startWhenHeard('UNAUTHORIZED')
      await admin.deleteAcls({ filters: [{ ...rule(Resource.TOPIC, Op.WRITE) }] as never })
      // Until the broker has heard of it, what is sent is written.
      while (running.failure === null) {
        await stage.send(10)
        await Promise.race([running.ended, sleep(500)])
      }
      const place = new RegExp(`, ${application}\\.\\S+-\\d: TOPIC_AUTHORIZATION_FAILED`)
      assertSays(await running.ended, 'UNAUTHORIZED', place)
      await running.stop()
      await grant(Resource.TOPIC, Op.WRITE)
      await stage.startWhenHeard('UNAUTHORIZED')
      await stage.assertUndisturbed()
    } finally {
      await admin.disconnect()
      await stage.close()
    }
  })
})
