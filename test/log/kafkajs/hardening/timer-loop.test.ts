import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import { mendTimerLoop } from '../../../../log/kafkajs/hardening/timer-loop.ts'

const silent = { debug: (): void => {}, warn: (): void => {}, namespace: () => silent }
const options = {
  maxInFlightRequests: null,
  requestTimeout: 1_000,
  enforceRequestTimeout: false,
  logger: silent,
}

/** As KafkaJS ships it, untouched by what other tests have mended. */
function asShipped(): typeof RequestQueue {
  const require = createRequire(import.meta.url)
  const path = require.resolve('kafkajs/src/network/requestQueue/index.js')
  const mended = require.cache[path]
  Reflect.deleteProperty(require.cache, path)
  const shipped = require(path) as typeof RequestQueue
  require.cache[path] = mended
  return shipped
}

async function checksIn100Ms(queue: RequestQueue): Promise<number> {
  let checks = 0
  const check = queue.checkPendingRequests.bind(queue)
  queue.checkPendingRequests = () => {
    checks++
    check()
  }
  queue.checkPendingRequests()
  await sleep(100)
  queue.checkPendingRequests = () => undefined
  queue.destroy()
  return checks
}

describe('an idle connection', () => {
  it('wakes every millisecond in KafkaJS; here it sleeps', async () => {
    assert((await checksIn100Ms(new (asShipped())(options))) > 10)
    mendTimerLoop()
    assert.equal(await checksIn100Ms(new RequestQueue(options)), 1)
  })

  it('sends what was held back by throttling once that is over', async () => {
    mendTimerLoop()
    const queue = new RequestQueue(options)
    queue.throttledUntil = Date.now() + 50
    const sent = new Promise<number>((resolve) => {
      const entry = { correlationId: 1, resolve: (): void => {}, reject: (): void => {} }
      const request = {
        entry,
        expectResponse: true,
        requestTimeout: 0,
        sendRequest: () => resolve(Date.now()),
      }
      ;(queue as unknown as { push: (request: object) => void }).push(request)
    })
    assert((await sent) >= queue.throttledUntil - 1)
    queue.destroy()
  })
})
