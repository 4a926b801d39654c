import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka, type KafkaServers } from '../../../deploy/stack/servers.ts'
import type { KafkaLogOptions } from '../../../log/kafkajs/kafka-log.ts'
import { append, batchOf, makeTopic, rejectsWith, valuesIn } from '../../contract/log/support.ts'
import { ownServer, sharedKafka } from '../../support/servers.ts'
import { portOf } from './frame-proxy.ts'
import { openTestLog, throughProxy } from './support.ts'

describe('another cluster behind the same address', () => {
  let other: KafkaServers
  before(async function () {
    this.timeout(300_000)
    other = await ownServer(this, () => startKafka())
  })
  after(() => other.stop())

  it('is refused by whatever was open, for good', async function () {
    const { brokers } = await sharedKafka(this)
    const { proxy, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = log.idempotentProducer()
    await producer.send([batchOf(topic, 0, ['a'])])
    proxy.targetPort = portOf(other.env.KAFKA_BROKERS)
    proxy.cutAll()
    await rejectsWith('CLUSTER_CHANGED', () => producer.send([batchOf(topic, 0, ['b'])]))
    proxy.targetPort = portOf(brokers)
    await rejectsWith('CLUSTER_CHANGED', () => log.admin.listTopics())
    await close()
  })
})

/** A little more than KafkaJS logs in again before the end. */
const SESSION_MS = 11_000

describe('a log-in', () => {
  let kafka: KafkaServers
  let ca: string

  before(async function () {
    this.timeout(300_000)
    const sasl = { users: { mill: 'race' } }
    const settings = { 'connections.max.reauth.ms': String(SESSION_MS) }
    kafka = await ownServer(this, () => startKafka({ sasl, tls: true, settings }))
    ca = await readFile(kafka.certificates!.caFile, 'utf8')
  })
  after(() => kafka.stop())

  const open = (options: Partial<KafkaLogOptions>) =>
    openTestLog(kafka.env.KAFKA_BROKERS, { ssl: { ca }, ...options })

  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    it(`by ${mechanism} over TLS lets one work, and a wrong password is refused in words`, async () => {
      const log = await open({ sasl: { mechanism, username: 'mill', password: 'race' } })
      const topic = await makeTopic(log)
      await append(log, topic, 0, ['a'])
      assert.deepEqual(await valuesIn(log, topic), ['a'])
      await log.close()
      const wrong = { mechanism, username: 'mill', password: 'wheel' }
      await rejectsWith('UNAUTHORIZED', () => open({ sasl: wrong }))
      await assert.rejects(open({ sasl: wrong }), new RegExp(`refused the log-in by ${mechanism}.*password`))
    })
  }

  it('is renewed before the broker would end the connection for its age', async () => {
    let connections = 0
    const gate = createServer((client) => {
      connections++
      const broker = connect({ host: '127.0.0.1', port: portOf(kafka.env.KAFKA_BROKERS) })
      for (const socket of [client, broker]) socket.on('error', () => undefined)
      client.pipe(broker).pipe(client)
    })
    await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve))
    const { port } = gate.address() as AddressInfo
    const sasl = { mechanism: 'scram-sha-256', username: 'mill', password: 'race' } as const
    const log = await open({ sasl, route: () => ({ host: '127.0.0.1', port }) })
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a'])
    const before = connections
    const endMs = performance.now() + SESSION_MS + 3_000
    while (performance.now() < endMs) {
      assert.deepEqual(await log.admin.offsets([{ topic, partition: 0 }]), [{ start: 0, stable: 1, end: 1 }])
      await sleep(500)
    }
    assert.equal(connections, before, 'it is the same connection still')
    await log.close()
    gate.close()
  })

  it('is not sent to a server whose certificate nobody vouches for', async () => {
    const sasl = { mechanism: 'plain', username: 'mill', password: 'race' } as const
    await assert.rejects(open({ ssl: true, sasl }), { code: 'UNAUTHORIZED', message: /certificate.*ssl\.ca/ })
  })

  it('that the server does not offer is refused', async () => {
    const sasl = { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: 'token' }) } as const
    await rejectsWith('UNAUTHORIZED', () => open({ sasl }))
  })
})

describe('an address', () => {
  it('at which nobody listens is said, with what to look at', async () => {
    await assert.rejects(openTestLog('127.0.0.1:1', { retryTimeoutMs: 500 }), {
      code: 'UNAVAILABLE',
      message: /127\.0\.0\.1:1.*ECONNREFUSED.*Check that the brokers run/,
    })
  })

  it('of something that never answers ends as well', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await assert.rejects(
      openTestLog(`127.0.0.1:${port}`, { retryTimeoutMs: 500, connectionTimeoutMs: 300 }),
      { code: 'UNAVAILABLE' },
    )
    server.close()
  })

  it('has a host and a port', async () => {
    await rejectsWith('INVALID_STATE', () => openTestLog('kafka'))
  })
})
