import assert from 'node:assert/strict'
import { MUTATIONS, tryMutation } from './mutations.ts'
import { testScale } from '../../config/test-scale.ts'

describe('a protocol with a fault in it', function () {
  this.timeout(600_000)

  for (const mutation of MUTATIONS) {
    it(`is noticed by the simulation: ${mutation.name}`, async () => {
      const { isCaught, text } = await tryMutation(mutation, { seeds: testScale.mutationSeeds, jobs: 1 })
      assert(isCaught, text)
    })
  }
})
