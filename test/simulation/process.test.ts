import assert from 'node:assert/strict'
import { ConnectionLost } from '../../log/simulated/wire.ts'
import { SimulatedProcess } from '../../processor/testing/simulation/process.ts'
import { Random } from '../../processor/testing/simulation/random.ts'
import { CALM, Scheduler, type Weather } from '../../processor/testing/simulation/scheduler.ts'

const FOREVER = (): boolean => false

function start(weather: Weather = CALM): { scheduler: Scheduler; process: SimulatedProcess } {
  const scheduler = new Scheduler(new Random(1), weather, 0)
  return { scheduler, process: new SimulatedProcess('p', scheduler) }
}

describe('a simulated process', () => {
  it('goes on when its answer comes, in virtual time', async () => {
    const { scheduler, process } = start()
    const answers: number[] = []
    void process.request<number>('ask', (reply) => reply(7)).then((answer) => answers.push(answer))
    await scheduler.run(FOREVER)
    assert.deepEqual(answers, [7])
    assert(scheduler.nowMs() > 0)
  })

  it('never goes on once it is killed, though what it sent arrives', async () => {
    const { scheduler, process } = start()
    const seen: string[] = []
    void process
      .request<null>('ask', (reply) => {
        seen.push('arrived')
        reply(null)
      })
      .then(() => seen.push('answered'))
    process.kill()
    await scheduler.run(FOREVER)
    assert.deepEqual(seen, ['arrived'])
  })

  it('goes on late where it was stopped, and does not know', async () => {
    const { scheduler, process } = start()
    let wokeMs = 0
    void process.sleep(10).then(() => (wokeMs = scheduler.nowMs()))
    process.pause()
    scheduler.after(5_000, 'let go', () => process.resume())
    await scheduler.run(FOREVER)
    assert.equal(wokeMs, 5_000)
  })

  it('sees a broken connection, whatever became of the request', async () => {
    const { scheduler, process } = start({ ...CALM, breakChance: 1 })
    let effects = 0
    let broken = 0
    for (let i = 0; i < 300; i++) {
      void process
        .request<null>('ask', (reply) => {
          effects++
          reply(null)
        })
        .catch((error: unknown) => {
          assert(error instanceof ConnectionLost)
          broken++
        })
    }
    await scheduler.run(FOREVER)
    assert.equal(broken, 300)
    assert(effects > 150 && effects < 250, `${effects} of 300 had their effect`)
  })
})
