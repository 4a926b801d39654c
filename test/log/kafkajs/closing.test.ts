import assert from 'node:assert/strict'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../../log/port.ts'
import { batchOf, makeTopic, producerOf, rejectsWith, valuesIn } from '../../contract/log/support.ts'
import { sharedKafka } from '../../support/servers.ts'
import { FrameProxy } from './frame-proxy.ts'
import { openTestLog } from './support.ts'

/** Long before any time-out of the log's own. */
const AT_ONCE_MS = 1_500
const STEP_MS = 10

/** @param withinMs of the time in which this process has its turns: one that is held up waits no longer for that */
async function endsAtOnce(call: Promise<unknown>, end: () => unknown, withinMs = AT_ONCE_MS): Promise<void> {
  const ended = rejectsWith('CLOSED', () => call)
  await sleep(300)
  const state = { isOver: false }
  const over = Promise.all([end(), ended]).finally(() => (state.isOver = true))
  for (let ranMs = 0; !state.isOver && ranMs < withinMs; ranMs += STEP_MS) await sleep(STEP_MS)
  assert(state.isOver, `it takes more than ${withinMs} ms`)
  await over
}

describe('while no broker answers', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  describe('the signal ends connecting at once', () => {
    const sockets = new Set<Socket>()
    let mute: Server
    let port: number
    beforeEach(async () => {
      mute = createServer((socket) => sockets.add(socket.on('error', () => undefined)))
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
      ;({ port } = mute.address() as AddressInfo)
    })
    afterEach(async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => mute.close(resolve))
    })

    it('where connections are refused', async () => {
      mute.close()
      const stop = new AbortController()
      const options = { signal: stop.signal, retryTimeoutMs: 60_000 }
      await endsAtOnce(openTestLog(`127.0.0.1:${port}`, options), () => stop.abort())
    })

    it('where they are accepted, and nobody speaks', async () => {
      const stop = new AbortController()
      const options = { signal: stop.signal, retryTimeoutMs: 60_000, requestTimeoutMs: 60_000 }
      await endsAtOnce(openTestLog(`127.0.0.1:${port}`, options), () => stop.abort())
    })

    it('and none is begun when it was aborted before', async () => {
      await rejectsWith('CLOSED', () => openTestLog(brokers, { signal: AbortSignal.abort() }))
    })
  })

  describe('after it has answered', () => {
    let proxy: FrameProxy
    let log: Log
    let direct: Log
    let topic: string
    const stop = { current: new AbortController() }
    beforeEach(async () => {
      stop.current = new AbortController()
      proxy = await FrameProxy.start(brokers)
      direct = await openTestLog(brokers)
      topic = await makeTopic(direct)
      log = await openTestLog(brokers, {
        signal: stop.current.signal,
        retryTimeoutMs: 60_000,
        route: () => ({ host: '127.0.0.1', port: proxy.port }),
      })
    })
    afterEach(async () => {
      await log.close()
      await direct.close()
      await proxy.stop()
    })

    it('closing the log ends what is being tried again', async () => {
      const producer = await producerOf(log)
      producer.begin()
      await producer.send([batchOf(topic, 0, ['a'])])
      await proxy.stop()
      const calls = Promise.all([
        log.admin.offsets([{ topic, partition: 0 }]),
        log.partitionReader({ topic, partition: 0 }, 0).read(1),
        producer.sendOffsets([], { groupId: 'g', memberId: '', generation: -1 }),
      ])
      await endsAtOnce(calls, () => log.close())
    })

    it('closing the log ends what waits for an answer, and what connects', async () => {
      proxy.fateOf = () => 'lose'
      const waiting = log.admin.offsets([{ topic, partition: 0 }])
      const connecting = log.partitionReader({ topic, partition: 0 }, 0).read(1)
      await endsAtOnce(Promise.all([waiting, connecting]), () => log.close())
    })

    it('the signal leaves alone what Kafka answers, and ends it when Kafka is away', async () => {
      stop.current.abort()
      const producer = await producerOf(log)
      producer.begin()
      await producer.send([batchOf(topic, 0, ['finished'])])
      await producer.commit()
      assert.deepEqual(await valuesIn(log, topic), ['finished'])
      await proxy.stop()
      await endsAtOnce(log.admin.offsets([{ topic, partition: 0 }]), () => undefined, 5_000)
      await rejectsWith('CLOSED', () => log.admin.offsets([{ topic, partition: 0 }]))
    })
  })

  it('a topic that this log has known until now is waited for, as long as for anything else', async () => {
    const [log, other] = [await openTestLog(brokers), await openTestLog(brokers)]
    const topic = await makeTopic(other)
    assert.equal((await log.admin.offsets([{ topic, partition: 0 }]))[0]!.end, 0)
    await other.admin.deleteTopic(topic)
    const asked = Promise.all([
      log.admin.offsets([{ topic, partition: 0 }]),
      log.idempotentProducer().send([batchOf(topic, 0, ['sent'])]),
    ])
    await sleep(1_500)
    await other.admin.createTopics([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    await asked
    assert.deepEqual(await valuesIn(log, topic), ['sent'])
    await log.close()
    await other.close()
  })
})
