import assert from 'node:assert/strict'
import { sharedKafka } from '../../../support/servers.ts'
import { throughProxy } from '../support.ts'

describe('a connection that is half open', () => {
  it('KafkaJS waits on it again and again; here it is given up after one late answer, and made again', async function () {
    const { brokers } = await sharedKafka(this)
    const { proxy, kafkajs, log, close } = await throughProxy(brokers, { requestTimeoutMs: 3_000 })
    const admin = kafkajs.admin({ retry: { retries: 0 } })
    await admin.connect()
    await admin.listTopics()
    await log.admin.listTopics()
    // Connections that are there already get no answers any more.
    const freeze = (): (() => void) => {
      const before = proxy.connections
      proxy.fateOf = () => (proxy.connections > before ? 'pass' : 'lose')
      return () => (proxy.fateOf = () => 'pass')
    }

    let thaw = freeze()
    let connections = proxy.connections
    await assert.rejects(admin.listTopics(), /timed out/)
    await assert.rejects(admin.listTopics(), /timed out/)
    assert.equal(proxy.connections, connections, 'it never tries another')
    thaw()
    await admin.disconnect()

    connections = proxy.connections
    thaw = freeze()
    await log.admin.listTopics()
    assert.equal(proxy.connections, connections + 1)
    thaw()
    await close()
  })
})
