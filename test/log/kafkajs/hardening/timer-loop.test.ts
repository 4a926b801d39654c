import assert from 'node:assert/strict'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import { Throttle } from '../../../../log/kafkajs/hardening/timer-loop.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { openTestLog } from '../support.ts'
import { until } from '../../../support/until.ts'

const silent = { debug: (): void => {}, warn: (): void => {}, namespace: () => silent }

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

describe('an idle connection', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('wakes every millisecond in KafkaJS', async () => {
    const queue = new RequestQueue({
      maxInFlightRequests: null,
      requestTimeout: 1_000,
      enforceRequestTimeout: false,
      logger: silent,
    })
    let checks = 0
    const check = queue.checkPendingRequests.bind(queue)
    queue.checkPendingRequests = () => {
      checks++
      check()
    }
    queue.checkPendingRequests()
    await until(() => checks > 10, 'ten checks')
    queue.checkPendingRequests = () => undefined
    queue.destroy()
  })

  it('has no timer here', async () => {
    // The test's own begins behind its first step.
    await Promise.resolve()
    const before = timers()
    const log = await openTestLog(brokers)
    await log.admin.listTopics()
    // One that another test has left behind may have ended meanwhile.
    assert(timers() <= before)
    await log.close()
  })

  it('holds back what it is asked to, the longest of it, and then nothing more', async () => {
    const throttle = new Throttle()
    throttle.ask(0)
    assert.equal(throttle.isOn, false)
    throttle.ask(80)
    throttle.ask(20)
    const sinceMs = performance.now()
    await throttle.over()
    assert(performance.now() - sinceMs >= 79)
    assert.equal(throttle.isOn, false)
  })
})
