import { setTimeout as sleep } from 'node:timers/promises'
import { logContract } from '../../contract/log.ts'
import { sharedKafka } from '../../support/servers.ts'
import { compacted, compactingSoon, openTestLog } from './support.ts'

describe('on Kafka', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  logContract('through KafkaJS', async () => {
    const log = compactingSoon(brokers, await openTestLog(brokers))
    return {
      log,
      advance: (ms) => sleep(ms),
      compact: (partition) => compacted(log, partition),
      close: () => log.close(),
    }
  })
})
