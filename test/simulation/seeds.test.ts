import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { testScale } from '../../config/test-scale.ts'
import { FAMILIES, scenarioOf, type Family } from '../../processor/testing/simulation/scenario.ts'
import { simulate } from '../../processor/testing/simulation/simulation.ts'
import { runSeeds } from './seeds.ts'

/** Each is run in many interleavings. */
const SCRIPTS = 2
/** One in many thousands: Redis emptied, and a zombie that restores in between two markers of another's commit. */
const ONCE_VIOLATED: readonly (readonly [number, Family])[] = [[49_478, 'zombies in restores and chunks (7)']]
/** Applications that were stopped past every retention. */
const STOPPED_TOO_LONG = 3

describe('simulated runs of the real workers', function () {
  this.timeout(600_000)

  for (const family of FAMILIES) {
    it(`lose and double nothing, whatever the schedule: ${family}`, async () => {
      const { violated } = await runSeeds({ from: 0, seeds: testScale.simulatedSeedsAFamily, family })
      assert.deepEqual(
        violated.map(({ seed, violations }) => `seed ${seed}: ${violations.join('; ')}`),
        [],
        `again: npm run simulate -- --family '${family}' --seed <seed> --trace`,
      )
    })
  }

  for (const [seed, family] of ONCE_VIOLATED) {
    it(`lose and double nothing where they once did: seed ${seed} of ${family}`, async () => {
      assert.deepEqual((await simulate(scenarioOf(seed, family))).violations, [])
    })
  }

  it('depend on their seed alone: every event comes again, in the same order', async () => {
    const hashOf = async (seed: number): Promise<string> => {
      const hash = createHash('sha256')
      await simulate(scenarioOf(seed), { onEvent: (line) => hash.update(line).update('\n') })
      return hash.digest('hex')
    }
    for (let seed = 0; seed < testScale.slowPropertyRuns; seed++) {
      assert.equal(await hashOf(seed), await hashOf(seed), `seed ${seed}`)
    }
  })

  it('give the same windows, to the byte, from the same source under any interleaving (10)', async () => {
    for (let script = 0; script < SCRIPTS; script++) {
      const base = scenarioOf(script, 'anything')
      let first: string | null = null
      for (let schedule = 0; schedule < testScale.slowPropertyRuns; schedule++) {
        const { scriptSeed, script: options, pipeline } = base
        const other = scenarioOf(script + 1_000 * (schedule + 1))
        const { outputs, violations } = await simulate({ ...other, scriptSeed, script: options, pipeline })
        assert.deepEqual(violations, [], `script ${script}, schedule ${schedule}`)
        const text = JSON.stringify([...outputs].map(([name, rows]) => [name, [...rows].sort()]))
        first ??= text
        assert.equal(text, first, `script ${script}, schedule ${schedule}`)
      }
    }
  })

  it('end with an error that says so where the source has deleted what was not read (9)', async () => {
    for (let seed = 0; seed < STOPPED_TOO_LONG; seed++) {
      const base = scenarioOf(seed, 'calm')
      const { violations } = await simulate({
        ...base,
        faults: [
          {
            atMs: base.script.durationMs * 0.7,
            kind: 'long stop',
            forMs: base.script.durationMs,
            pastRetention: true,
          },
        ],
        expectedStop: 'POSITION_OUT_OF_RANGE',
      })
      assert.deepEqual(violations, [], `seed ${seed}`)
    }
  })
})
