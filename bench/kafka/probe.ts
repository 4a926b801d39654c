/** A steady load, and what becomes visible of it: streams/LatencyProbe.java. */
import { join } from 'node:path'
import { MeasuredProcess } from './measured-process.ts'
import { BROKER_CORE, type BenchServers } from './servers.ts'

export interface ProbeOptions {
  readonly topic: string
  readonly outTopic: string
  readonly keys: number
  /** Events a second. */
  readonly rate: number
  readonly seconds: number
  readonly warmUpSeconds: number
  readonly onSecond?: (second: ProbeSecond) => void
}

/** What one second of it saw. */
export interface ProbeSecond {
  readonly second: number
  readonly sent: number
  readonly visible: number
  /** The longest that any partition of the output was silent. */
  readonly silenceMs: number
}

/** From send to visible. */
export interface Latencies {
  readonly measured: number
  /** Events that never became visible. */
  readonly unseen: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly longestMs: number
}

/** @throws Error where an event did not become visible */
export async function probe(servers: BenchServers, options: ProbeOptions): Promise<Latencies> {
  const { topic, outTopic, keys, rate, seconds, warmUpSeconds, onSecond } = options
  const counts = [keys, rate, seconds, warmUpSeconds].map(String)
  const args = [servers.kafka.env.KAFKA_BROKERS, topic, outTopic, ...counts]
  const [program, line] = servers.javaCommand('LatencyProbe', args, ['-Xmx512m'])
  const logFile = join(servers.directory, `${outTopic}.probe.log`)
  let found: Latencies | null = null
  const child = MeasuredProcess.start({
    program,
    args: line,
    cores: [BROKER_CORE],
    logFile,
    onLine: (text) => {
      const said = JSON.parse(text) as ProbeSecond | Latencies
      if ('second' in said) onSecond?.(said)
      else found = said
    },
  })
  await child.ended()
  const latencies = found as Latencies | null
  if (latencies === null) throw new Error(`the probe failed; its log is ${logFile}`)
  if (latencies.unseen > 0) throw new Error(`${latencies.unseen} events of ${outTopic} never became visible`)
  return latencies
}
