import type { TopicPartition } from '../../../log/port.ts'
import { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { connect } from '../../../log/simulated/simulated-log.ts'
import { logContract } from '../../contract/log.ts'
import { CalmWire } from './calm-wire.ts'

for (const joinsBatches of [false, true]) {
  logContract(joinsBatches ? 'simulated, batches joined' : 'simulated', () => {
    const wire = new CalmWire()
    const cluster = new SimulatedCluster(wire, { joinsBatches })
    const log = connect(cluster, wire)
    return Promise.resolve({
      log,
      advance: (ms: number) => {
        wire.advance(ms)
        return Promise.resolve()
      },
      compact: (partition: TopicPartition) => {
        cluster.partition(partition).compact()
        return Promise.resolve()
      },
      close: async () => {
        await log.close()
        wire.stop()
      },
    })
  })
}
