import { parseRedisUrl } from '../../processor/state/redis/address.ts'
import { CliError } from '../errors.ts'
import type { StackSettings } from '../settings/settings.ts'

/**
 * Refuses what the servers' clients would refuse later, before anything is made or connected to.
 * @param needsState whether state will be kept; others need no Redis
 * @throws CliError BAD_SETTING
 */
export function checkStack({ redis }: StackSettings, needsState: boolean): void {
  if (redis === null) {
    if (!needsState) return
    throw new CliError(
      'BAD_SETTING',
      'KAFKA_BROKERS is set, so state is kept in Redis, and REDIS_URL is not: set it (redis://host:port), or ' +
        'give --embedded to run on local disk.',
    )
  }
  try {
    parseRedisUrl(redis.url)
  } catch (error) {
    throw new CliError('BAD_SETTING', (error as Error).message, { cause: error })
  }
}
