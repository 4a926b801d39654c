import { TestDriver } from 'millrace/testing'
import assert from 'node:assert/strict'
import pipeline from '../pipeline.ts'

it('adds up the hour of a country, each order once', async () => {
  const driver = await TestDriver.open(pipeline)
  const order = { order_id: 'o-1', amount: 20, country: 'France', timestamp: '2025-11-03T08:10:00Z' }
  await driver.send('orders', [order, order, { ...order, order_id: 'o-2', amount: '12.50' }])
  await driver.end()
  await driver.settle()
  const [hour] = await driver.rows('shop.hourly')
  assert.deepEqual([hour?.['orders'], hour?.['revenue']], [2, 32.5])
  await driver.close()
})
