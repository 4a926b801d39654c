import assert from 'node:assert/strict'
import { testScaleOf } from '../../config/test-scale.ts'

describe('the scale of the tests', () => {
  it('is small in CI, larger at a desk, and largest when asked, even in CI', () => {
    const kills = (env: Record<string, string>): number => testScaleOf(env).kills
    assert.ok(kills({ CI: 'true' }) <= kills({}))
    assert.ok(kills({}) < kills({ FULL: '1' }))
    assert.equal(kills({ CI: 'true', FULL: '1' }), kills({ FULL: '1' }))
    assert.equal(kills({ CI: 'false', FULL: '0' }), kills({}))
  })

  it('kills a run at least twenty times when asked for everything', () => {
    assert.ok(testScaleOf({ FULL: '1' }).kills >= 20)
  })
})
