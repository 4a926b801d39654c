/**
 * `npm run bench:kafka [-- --parts throughput,latency --events 9000000 --keys 10000,100000 --commits 100,1000
 * --systems streams,millrace]`: bench/windowed-totals.ts on Kafka and Redis, beside Kafka Streams, Java's own
 * consumer and plain KafkaJS, on the same broker, topic and bytes. The broker has one core, the system and its
 * Redis another. Fails where outputs differ or lack events; never on a time.
 */
import { parseArgs } from 'node:util'
import { parts, type BenchOptions } from './kafka/parts.ts'
import { BenchServers } from './kafka/servers.ts'
import type { SystemName } from './kafka/systems.ts'

const SYSTEMS: readonly SystemName[] = ['streams', 'millrace']

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: Object.keys(parts).join() },
    events: { type: 'string', default: '9000000' },
    keys: { type: 'string', default: '10000,100000' },
    commits: { type: 'string', default: '100,1000' },
    systems: { type: 'string', default: SYSTEMS.join() },
    partitions: { type: 'string', default: '8' },
    'no-readers': { type: 'boolean', default: false },
  },
})

function chosen<T extends string>(option: 'parts' | 'systems', from: readonly T[]): T[] {
  return values[option].split(',').map((name) => {
    const known = from.find((one) => one === name)
    if (known === undefined) throw new Error(`--${option} ${name}: there are ${from.join(', ')}.`)
    return known
  })
}

function numbers(text: string): number[] {
  return text.split(',').map((one) => {
    const number = Number(one)
    if (!Number.isInteger(number) || number < 1) throw new Error(`${one} is no whole number above 0.`)
    return number
  })
}

const names = chosen('parts', Object.keys(parts) as (keyof typeof parts)[])
const options: BenchOptions = {
  events: numbers(values.events)[0]!,
  keys: numbers(values.keys),
  commitsMs: numbers(values.commits),
  systems: chosen('systems', SYSTEMS),
  hasReaders: !values['no-readers'],
  partitions: numbers(values.partitions)[0]!,
}
const servers = await BenchServers.open()
try {
  for (const name of names) {
    console.log(`\n== ${name}`)
    if (!(await parts[name](servers, options))) process.exitCode = 1
  }
} finally {
  await servers.close()
}
