import assert from 'node:assert/strict'
import { testScale } from '../../config/test-scale.ts'
import { describeRuns, isWrong, killRuns } from './kills.ts'
import { monthsOrSkip } from './shared-data.ts'
import { Scratch } from './support.ts'

describe('millrace run orders, killed at random moments', function () {
  this.timeout(120_000 + testScale.kills * 60_000)
  const scratch = new Scratch()
  after(() => scratch.remove())

  it(`has the tables of an undisturbed run after ${testScale.kills} kill -9 of one run`, async function () {
    const months = monthsOrSkip(this)
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
    const say = (line: string): void => console.log(`      ${line}`)
    const runs = await killRuns({ kills: testScale.kills, seed, months, scratch, say })
    assert.equal(runs.at(-1)!.kills, testScale.kills)
    for (const run of runs) {
      assert.ok(!run.tables.some(isWrong), `seed ${seed}\n${describeRuns([run])}`)
      assert.ok(run.tables.every(({ table, rows }) => rows > 0 || table.endsWith('_late')))
    }
  })
})
