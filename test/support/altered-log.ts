/** Logs that are as they are but for one thing. */
import type { Log, PartitionOffsets, TransactionalProducer } from '../../log/port.ts'

/** An object with one of its parts replaced. */
export function over<T extends object>(object: T, part: keyof T, by: T[keyof T]): T {
  return new Proxy(object, {
    get(target, name) {
      if (name === part) return by
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/**
 * The leader of a topic's partitions was deposed and has not heard of it.
 * @param old the ends that it tells
 * @param times how often, before a new one is asked; Infinity: ever after
 */
export function deposedLeader(log: Log, topic: string, old: PartitionOffsets, times: number): Log {
  let left = times
  const offsets: Log['admin']['offsets'] = async (places) => {
    const found = await log.admin.offsets(places)
    const isStale = places.some((place) => place.topic === topic) && left-- > 0
    return found.map((range, i) => (isStale && places[i]!.topic === topic ? old : range))
  }
  return over(log, 'admin', over(log.admin, 'offsets', offsets))
}

/** Something happens in front of each step of that name of its transactional producers. */
export function inFront(
  log: Log,
  step: 'init' | 'send' | 'commit',
  happens: () => Promise<void> | void,
): Log {
  const transactionalProducer: Log['transactionalProducer'] = (options) => {
    const producer = log.transactionalProducer(options)
    const altered = async (...args: never[]): Promise<unknown> => {
      await happens()
      return Reflect.apply(producer[step], producer, args) as unknown
    }
    return over(producer, step, altered as TransactionalProducer[typeof step])
  }
  return over(log, 'transactionalProducer', transactionalProducer)
}
