/** The parts of `npm run bench:kafka`: each prints its table, and says whether all outputs were right. */
import { cpus } from 'node:os'
import { MeasuredProcess } from './measured-process.ts'
import { probe, type Latencies } from './probe.ts'
import { type BenchServers } from './servers.ts'
import { consumerSpec, plainSpec, specOf, type SystemName } from './systems.ts'
import { cpuPerMillion, eventsPerSecond, markdown, rounded, throughputTable } from './table.ts'
import { measure, measureReader, type Figures, type Totals } from './throughput.ts'
import { restore } from './restore.ts'

export interface BenchOptions {
  readonly events: number
  readonly keys: readonly number[]
  readonly commitsMs: readonly number[]
  readonly systems: readonly SystemName[]
  /** Java's consumer and plain KafkaJS beside them. */
  readonly hasReaders: boolean
  readonly partitions: number
}

export type Part = (servers: BenchServers, options: BenchOptions) => Promise<boolean>

/** Of event time. */
const EVENTS_PER_SECOND = 2_500
/** As fast as a system goes, over a loaded topic. */
const throughput: Part = async (servers, options) => {
  const { events, keys: allKeys, commitsMs, systems, hasReaders, partitions } = options
  let isRight = true
  for (const keys of allKeys) {
    const topic = `events-${keys}`
    await servers.load({ topic, partitions, events, keys, eventsPerSecond: EVENTS_PER_SECOND })
    const readers = hasReaders
      ? [
          await measureReader(servers, 'Java’s consumer alone', consumerSpec(servers, topic, events), events),
          await measureReader(servers, 'KafkaJS `eachBatch`', plainSpec(servers, topic, events), events),
        ]
      : []
    for (const commitMs of commitsMs) {
      const figures: Figures[] = []
      const totals: Totals[] = []
      for (const system of systems) {
        const result = await measure(servers, { system, topic, commitMs }, { events, partitions })
        figures.push(result.figures)
        totals.push(result.totals)
      }
      console.log(`\n${millions(events)} events, ${keys} keys, a commit every ${commitMs} ms\n`)
      console.log(throughputTable([...figures, ...readers]))
      isRight = areRight(totals, events) && isRight
    }
    await servers.deleteTopics()
  }
  return isRight
}

const LATENCY = { rate: 20_000, seconds: 60, warmUpSeconds: 25, keys: 10_000 }

/** From append to visible output at a steady rate. */
const latency: Part = async (servers, { systems, commitsMs, partitions }) => {
  const rows: string[][] = []
  for (const commitMs of commitsMs) {
    for (const system of systems) {
      const topic = `steady-${system}-${commitMs}`
      await servers.createTopic(topic, partitions)
      const { spec, outTopic } = specOf(servers, { system, topic, commitMs })
      await servers.createTopic(outTopic, partitions)
      const child = MeasuredProcess.start(spec)
      try {
        rows.push(latencyRow(system, commitMs, await probe(servers, { ...LATENCY, topic, outTopic })))
      } finally {
        await child.stop()
      }
      await servers.deleteTopics()
    }
  }
  console.log(`\n${LATENCY.rate} events a second, from send to visible, ms\n`)
  console.log(markdown(['', 'commit every', 'p50', 'p99', 'p99.9', 'longest'], rows))
  return true
}

function latencyRow(system: string, commitMs: number, found: Latencies): string[] {
  const figures = [found.p50Ms, found.p99Ms, found.p999Ms, found.longestMs]
  return [system, `${commitMs} ms`, ...figures.map((ms) => rounded(ms, 0))]
}

const SCALING = { events: 2_000_000, commitMs: 1_000 }
const FEW = { keys: 10_000, partitions: 8 }
const LARGER = [
  { name: '64 partitions', keys: 10_000, partitions: 64 },
  { name: '100,000 keys', keys: 100_000, partitions: 8 },
  { name: '1,000,000 keys', keys: 1_000_000, partitions: 8 },
]

/** What more partitions and a larger state cost. */
const scaling: Part = async (servers) => {
  const { events, commitMs } = SCALING
  let isRight = true
  const run = async (keys: number, partitions: number): Promise<Figures> => {
    const topic = `events-${keys}-${partitions}`
    await servers.load({ topic, partitions, events, keys, eventsPerSecond: EVENTS_PER_SECOND })
    const job = { system: 'millrace', topic, commitMs } as const
    const { figures, totals } = await measure(servers, job, { events, partitions })
    isRight = areRight([totals], events) && isRight
    await servers.deleteTopics()
    return figures
  }
  const few = await run(FEW.keys, FEW.partitions)
  const rows = [scalingRow('8 partitions, 10,000 keys', few, few)]
  for (const { name, keys, partitions } of LARGER)
    rows.push(scalingRow(name, await run(keys, partitions), few))
  console.log(`\n${millions(events)} events, a commit every ${commitMs} ms, steady\n`)
  const head = ['', 'events/s', 'slower by', 'CPU-s/M, client and Redis', 'more by', 'peak MiB']
  console.log(markdown(head, rows))
  return isRight
}

function scalingRow(name: string, { steady, peakMiB }: Figures, few: Figures): string[] {
  return [
    name,
    rounded(eventsPerSecond(steady), 0),
    rounded(eventsPerSecond(few.steady)! / eventsPerSecond(steady)!, 2),
    rounded(cpuPerMillion(steady), 2),
    rounded(cpuPerMillion(steady)! / cpuPerMillion(few.steady)!, 2),
    rounded(peakMiB, 0),
  ]
}

const HAND_OVER = { rate: 20_000, seconds: 70, warmUpSeconds: 15, keys: 10_000 }
const JOIN_AT_SECOND = 20
const LEAVE_AT_SECOND = 45
const SETTLED_SECONDS = 15

/** How long a partition of the output is silent when a process joins, and when it leaves. */
const handOver: Part = async (servers, { partitions }) => {
  const topic = 'hand-over'
  await servers.createTopic(topic, partitions)
  const job = { system: 'millrace', topic, commitMs: 100 } as const
  const { spec, outTopic } = specOf(servers, job)
  await servers.createTopic(outTopic, partitions)
  const stays = MeasuredProcess.start(spec)
  let leaves: MeasuredProcess | null = null
  const silenceMs = { usual: 0, joining: 0, leaving: 0 }
  const onSecond = ({ second, silenceMs: ms }: { second: number; silenceMs: number }): void => {
    if (second === JOIN_AT_SECOND) {
      const logFile = spec.logFile.replace('.log', '-2.log')
      leaves = MeasuredProcess.start({ ...spec, env: { ...spec.env, GC_FILE: `${logFile}.gc` }, logFile })
    }
    if (second === LEAVE_AT_SECOND) void leaves?.stop()
    if (second > HAND_OVER.warmUpSeconds && second <= JOIN_AT_SECOND)
      silenceMs.usual = Math.max(silenceMs.usual, ms)
    if (isSoonAfter(second, JOIN_AT_SECOND)) silenceMs.joining = Math.max(silenceMs.joining, ms)
    if (isSoonAfter(second, LEAVE_AT_SECOND)) silenceMs.leaving = Math.max(silenceMs.leaving, ms)
  }
  try {
    const found = await probe(servers, { ...HAND_OVER, topic, outTopic, onSecond })
    console.log('\nThe longest silence of an output partition while tasks move between two processes, ms\n')
    const row = [silenceMs.usual, silenceMs.joining, silenceMs.leaving, found.p999Ms]
    const head = ['', 'before', 'one joins', 'one leaves', 'p99.9 of the latency, all of it']
    console.log(
      markdown(head, [['20,000 events a second, commits at 100 ms', ...row.map((ms) => rounded(ms, 0))]]),
    )
  } finally {
    await Promise.all([stays.stop(), (leaves as MeasuredProcess | null)?.stop()])
  }
  await servers.deleteTopics()
  return true
}

function isSoonAfter(second: number, event: number): boolean {
  return second > event && second <= event + SETTLED_SECONDS
}

const PROCESSES = { events: 4_000_000, keys: 10_000, commitMs: 1_000 }

/** One process and two, with all cores for everybody. */
const processes: Part = async (servers, { partitions }) => {
  const { events, keys, commitMs } = PROCESSES
  const topic = 'events-processes'
  await servers.load({ topic, partitions, events, keys, eventsPerSecond: EVENTS_PER_SECOND })
  servers.keepToCores(false)
  const rows: string[][] = []
  let isRight = true
  for (const count of [1, 2]) {
    const job = {
      system: 'millrace',
      topic,
      commitMs,
      variant: `-by-${count}`,
      cores: cpus().map((_, core) => core),
      args: ['--processes', String(count)],
    } as const
    const { figures, totals } = await measure(servers, job, { events, partitions })
    isRight = areRight([totals], events) && isRight
    const cores = (of: 'client' | 'redis' | 'broker'): string =>
      rounded(figures.steady!.cpu[of] / figures.steady!.seconds, 2)
    rows.push([
      `--processes ${count}`,
      rounded(eventsPerSecond(figures.steady), 0),
      cores('client'),
      cores('redis'),
      cores('broker'),
      rounded(cpuPerMillion(figures.steady), 2),
      rounded(figures.peakMiB, 0),
    ])
  }
  servers.keepToCores(true)
  await servers.deleteTopics()
  const head = [
    '',
    'events/s',
    'cores: processes',
    'Redis',
    'broker',
    'CPU-s/M, client and Redis',
    'peak MiB',
  ]
  console.log(
    `\n${millions(events)} events on ${cpus().length} cores, which the broker has a share of, steady\n`,
  )
  console.log(markdown(head, rows))
  return isRight
}

/** A state of a million keys, from the changelogs into an empty Redis. */
const recovery: Part = async (servers) => {
  const found = await restore(servers)
  const head = ['', 'records', 'records/s', 'CPU-s/M: client', 'Redis', 'broker', 'Redis MiB a million keys']
  const row = [
    `${found.keys} keys`,
    found.records,
    rounded(found.records / found.seconds, 0),
    ...(['client', 'redis', 'broker'] as const).map((of) =>
      rounded((found.cpu[of] / found.records) * 1e6, 2),
    ),
    rounded((found.redisMiB / found.keys) * 1e6, 0),
  ]
  console.log('\nRestored from the changelogs into an emptied Redis\n')
  console.log(markdown(head, [row]))
  await servers.deleteTopics()
  return true
}

export const parts = { throughput, latency, scaling, recovery, 'hand-over': handOver, processes }

function areRight(all: readonly Totals[], events: number): boolean {
  for (const { updates, windows, count, sum, hash } of all) {
    console.log(`  output: ${windows} windows, ${count} events, sum ${sum}, hash ${hash}, ${updates} updates`)
  }
  const isComplete = all.every(({ count }) => count === events)
  const isEqual = new Set(all.map(({ hash }) => hash)).size <= 1
  console.log(
    isComplete && isEqual ? '  outputs are equal, and complete' : '  OUTPUTS DIFFER, or lack events',
  )
  return isComplete && isEqual
}

function millions(count: number): string {
  return count >= 1e6 ? `${count / 1e6} M` : String(count)
}
