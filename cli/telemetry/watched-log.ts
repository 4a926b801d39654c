import type { GroupConsumer, GroupConsumerOptions, Log } from '../../log/port.ts'
import type { Health, Loop } from '../../telemetry/health.ts'

/**
 * The log, with every group consumer watched as a loop named after its group: whoever processes or writes polls
 * again and again, also while it waits for something else, so that silence means that it hangs.
 */
export function watchedLog(log: Log, health: Health): Log {
  return {
    admin: log.admin,
    transactionalProducer: (options) => log.transactionalProducer(options),
    idempotentProducer: () => log.idempotentProducer(),
    groupConsumer: (options) => watchedConsumer(log, options, health.loop(options.groupId)),
    partitionReader: (partition, from) => log.partitionReader(partition, from),
    close: () => log.close(),
  }
}

function watchedConsumer(log: Log, options: GroupConsumerOptions, loop: Loop): GroupConsumer {
  const consumer = log.groupConsumer(options)
  return {
    poll: (maxBytes, maxWaitMs) => {
      loop.turned()
      return consumer.poll(maxBytes, maxWaitMs)
    },
    seek: (partition, offset) => consumer.seek(partition, offset),
    pause: (partitions) => consumer.pause(partitions),
    resume: (partitions) => consumer.resume(partitions),
    committed: (partitions) => consumer.committed(partitions),
    commitOffsets: (offsets, group) => consumer.commitOffsets(offsets, group),
    wakeup: () => consumer.wakeup(),
    close: async () => {
      loop.ended()
      await consumer.close()
    },
  }
}
