import assert from 'node:assert/strict'
import { Health } from '../../telemetry/health.ts'
import type { Clock } from '../../config/clock.ts'

describe('health', () => {
  it('is alive until a loop has not turned for too long, and again once it turns', () => {
    const clock = new HandClock()
    const health = new Health({ clock, maxSilenceMs: 10_000 })
    const worker = health.loop('worker')
    health.loop('sinks')
    clock.advance(10_000)
    worker.turned()
    assert.deepEqual(health.alive(), { ok: true, reasons: [] })
    clock.advance(1_000)
    assert.deepEqual(health.alive(), {
      ok: false,
      reasons: [{ name: 'sinks', reason: 'has not turned for 11 s' }],
    })
    clock.advance(10_000)
    assert.deepEqual(
      health.alive().reasons.map(({ name }) => name),
      ['worker', 'sinks'],
    )
    worker.turned()
    assert.deepEqual(
      health.alive().reasons.map(({ name }) => name),
      ['sinks'],
    )
  })

  it('does not mourn a loop that has ended', () => {
    const clock = new HandClock()
    const health = new Health({ clock, maxSilenceMs: 10 })
    health.loop('source').ended()
    clock.advance(1_000)
    assert.equal(health.alive().ok, true)
  })

  it('is ready when every check says so, and else gives each reason: said, thrown or late', async () => {
    const health = new Health({ clock: new HandClock(), checkTimeoutMs: 20 })
    assert.deepEqual(await health.ready(), { ok: true, reasons: [] })
    health.addCheck({ name: 'tasks', check: () => '3 of 4 tasks are being restored' })
    health.addCheck({ name: 'log', check: () => Promise.reject(new Error('connection refused')) })
    health.addCheck({ name: 'state', check: () => new Promise(() => undefined) })
    assert.deepEqual(await health.ready(), {
      ok: false,
      reasons: [
        { name: 'tasks', reason: '3 of 4 tasks are being restored' },
        { name: 'log', reason: 'connection refused' },
        { name: 'state', reason: 'no answer within 20 ms' },
      ],
    })
  })

  it('does not ask again what has not been answered yet', async () => {
    const clock = new HandClock()
    const health = new Health({ clock, checkTimeoutMs: 5 })
    let asked = 0
    let answer: (reason: null) => void = () => undefined
    health.addCheck({
      name: 'log',
      check: () => {
        asked++
        return new Promise<null>((resolve) => (answer = resolve))
      },
    })
    for (let i = 0; i < 3; i++) {
      assert.deepEqual((await health.ready()).reasons, [{ name: 'log', reason: 'no answer within 5 ms' }])
      clock.advance(2_000)
    }
    assert.equal(asked, 1)
    const late = health.ready()
    answer(null)
    assert.equal((await late).ok, true)
  })

  it('asks once for many probes, and again when the answer is old', async () => {
    const clock = new HandClock()
    const health = new Health({ clock, cacheMs: 1_000 })
    let asked = 0
    health.addCheck({
      name: 'log',
      check: () => {
        asked++
        return null
      },
    })
    await Promise.all([health.ready(), health.ready()])
    clock.advance(1_000)
    await health.ready()
    assert.equal(asked, 1)
    clock.advance(1)
    await health.ready()
    assert.equal(asked, 2)
  })
})

class HandClock implements Clock {
  #ms = 0

  nowMs(): number {
    return this.#ms
  }

  advance(ms: number): void {
    this.#ms += ms
  }
}
