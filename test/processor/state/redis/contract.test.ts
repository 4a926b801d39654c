import { randomBytes } from 'node:crypto'
import { systemClock } from '../../../../config/clock.ts'
import { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { stateContract } from '../../../contract/state.ts'
import { sharedRedis } from '../../../support/servers.ts'

describe('state in Redis', () => {
  let url: string

  before(async function () {
    ;({ url } = await sharedRedis(this))
  })

  stateContract('in Redis', { durable: true }, async () => {
    const open = (): Promise<RedisState> => RedisState.open({ url, application, clock: systemClock })
    const application = `contract-${randomBytes(4).toString('hex')}`
    let state = await open()
    return {
      state,
      reopen: async () => {
        await state.close()
        return (state = await open())
      },
      close: () => state.close(),
    }
  })
})
