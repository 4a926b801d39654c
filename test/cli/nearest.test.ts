import assert from 'node:assert/strict'
import { nearest, suggestion } from '../../cli/nearest.ts'

describe('the name that was probably meant', () => {
  it('is the nearest within two slips', () => {
    assert.equal(nearest('orderz', ['orders', 'fraud']), 'orders')
    assert.equal(nearest('Orders', ['orders']), 'orders')
    assert.equal(nearest('odrers', ['orders', 'fraud']), 'orders')
  })

  it('is not guessed when nothing is near', () => {
    assert.equal(nearest('payments', ['orders', 'fraud']), null)
    assert.equal(nearest('x', ['ab']), null)
    assert.equal(nearest('anything', []), null)
  })

  it('comes with what there is to choose from', () => {
    assert.equal(
      suggestion('frau', ['orders', 'fraud']),
      "Did you mean 'fraud'? (There are: 'orders', 'fraud'.)",
    )
    assert.equal(suggestion('payments', ['orders']), "There are: 'orders'.")
    assert.equal(suggestion('x', []), 'There are none.')
  })
})
