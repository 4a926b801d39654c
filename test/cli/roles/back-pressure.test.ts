import assert from 'node:assert/strict'
import { BackPressure } from '../../../cli/roles/back-pressure.ts'

describe('back-pressure on the sources', () => {
  it('holds them above its bound, and lets go below the lower one', async () => {
    const lag = new Scripted()
    const pressure = new BackPressure({
      lag: () => lag.next(),
      maxRecords: 100,
      resumeRecords: 50,
      everyMs: 1,
    })
    const alive = setInterval(() => {}, 1_000)
    pressure.start()
    try {
      await lag.answer(100)
      assert.equal(pressure.gate(), undefined, 'at the bound it does not hold')
      await lag.answer(101)
      const held = pressure.gate()
      assert.ok(held)
      await lag.answer(60)
      assert.equal(pressure.gate(), held, 'between the bounds it stays as it is')
      await lag.fail()
      assert.equal(pressure.gate(), held, 'a look that fails changes nothing')
      await lag.answer(49)
      await held
      assert.equal(pressure.gate(), undefined)
    } finally {
      pressure.stop()
      clearInterval(alive)
    }
  })

  it('lets go when it is stopped, so that nobody waits for ever', async () => {
    const lag = new Scripted()
    const pressure = new BackPressure({ lag: () => lag.next(), maxRecords: 1, everyMs: 1 })
    const alive = setInterval(() => {}, 1_000)
    pressure.start()
    await lag.answer(2)
    const held = pressure.gate()
    pressure.stop()
    await held
    clearInterval(alive)
    assert.equal(pressure.gate(), undefined)
  })
})

/** Answers one look at a time; `answer` resolves when the next look is asked, so the last one is done. */
class Scripted {
  #asked = Promise.withResolvers<void>()
  #pending: PromiseWithResolvers<number> | null = null

  next(): Promise<number> {
    this.#pending = Promise.withResolvers()
    this.#asked.resolve()
    return this.#pending.promise
  }

  answer(lag: number): Promise<void> {
    return this.#settle((pending) => pending.resolve(lag))
  }

  fail(): Promise<void> {
    return this.#settle((pending) => pending.reject(new Error('away')))
  }

  async #settle(settle: (pending: PromiseWithResolvers<number>) => void): Promise<void> {
    await this.#asked.promise
    this.#asked = Promise.withResolvers()
    settle(this.#pending!)
    await this.#asked.promise
  }
}
