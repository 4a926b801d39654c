import { SimulatedRedis } from '../../processor/testing/simulation/redis-server.ts'
import { SimulatedRedisState } from '../../processor/testing/simulation/redis-state.ts'
import { stateContract } from '../contract/state.ts'
import { CalmWire } from '../log/simulated/calm-wire.ts'

stateContract('simulated Redis', { durable: false }, () => {
  const wire = new CalmWire()
  const state = new SimulatedRedisState(new SimulatedRedis(), wire, { chunkRows: 500 })
  const close = (): Promise<void> => {
    wire.stop()
    return Promise.resolve()
  }
  return Promise.resolve({ state, close })
})
