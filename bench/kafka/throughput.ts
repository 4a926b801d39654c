/** A system from the first record of a loaded topic to the commit of the last. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { GcPauses } from './gc-pauses.ts'
import { anonymousMiB, MeasuredProcess, type ProcessSpec } from './measured-process.ts'
import { cpuSince, type BenchServers, type Cpu } from './servers.ts'
import { specOf, type Job } from './systems.ts'

const SAMPLE_MS = 100
/** Left out of the steady figures: start-up, compilation, empty caches. */
const WARM_UP = 0.1
const STALLED_MS = 180_000
const NO_CPU: Cpu = { client: 0, redis: 0, broker: 0 }

/** Of a stretch of a run. */
export interface Stretch {
  readonly events: number
  readonly seconds: number
  readonly cpu: Cpu
}

export interface Figures {
  readonly system: string
  readonly whole: Stretch
  /** null: not told apart. */
  readonly steady: Stretch | null
  readonly peakMiB: number
  /** To changelogs and outputs, as they lie in the broker's files; null: it writes nothing. */
  readonly writtenBytes: number | null
  readonly gc: GcPauses | null
}

/** What an output topic comes to. */
export interface Totals {
  readonly updates: number
  readonly windows: number
  readonly count: number
  readonly sum: number
  readonly hash: string
}

interface Look {
  readonly atMs: number
  readonly done: number
  readonly cpu: Cpu
}

/** Runs a system until it has committed all of its topic, which holds so many events. */
export async function measure(
  servers: BenchServers,
  job: Job,
  { events, partitions }: { readonly events: number; readonly partitions: number },
): Promise<{ figures: Figures; totals: Totals }> {
  const { name, spec, outTopic, groupId, gcPauses } = specOf(servers, job)
  await servers.createTopic(outTopic, partitions)
  const child = MeasuredProcess.start(spec)
  const looks: Look[] = [{ atMs: performance.now(), done: 0, cpu: { ...servers.cpu(child.pid), client: 0 } }]
  let peakMiB = 0
  let movedMs = looks[0]!.atMs
  try {
    for (let done = 0; done < events;) {
      await sleep(SAMPLE_MS)
      if (child.hasExited) throw new Error(`${job.system} ended early; its log is ${spec.logFile}`)
      const now = await servers.committed(groupId, job.topic)
      const atMs = performance.now()
      if (now > done) movedMs = atMs
      if (atMs - movedMs > STALLED_MS)
        throw new Error(`${job.system} has stood at ${done} for ${STALLED_MS / 1e3} s`)
      done = now
      looks.push({ atMs, done, cpu: servers.cpu(child.pid) })
      peakMiB = Math.max(peakMiB, anonymousMiB(child.pid))
    }
  } finally {
    await child.stop()
  }
  const [first, last] = [looks[0]!, looks.at(-1)!]
  const warm = looks.find(({ done }) => done >= events * WARM_UP) ?? last
  const figures = {
    system: job.system,
    whole: between(first, last),
    steady: between(warm, last),
    peakMiB,
    writtenBytes: servers.writtenBytes(name),
    gc: gcPauses(),
  }
  return { figures, totals: await totalsOf(servers, outTopic) }
}

/** Runs a program that reads a whole topic and ends. */
export async function measureReader(
  servers: BenchServers,
  system: string,
  spec: ProcessSpec,
  events: number,
): Promise<Figures> {
  const beganMs = performance.now()
  const child = MeasuredProcess.start(spec)
  const before = { ...servers.cpu(child.pid), client: 0 }
  let cpu = NO_CPU
  let peakMiB = 0
  while (!child.hasExited) {
    try {
      cpu = cpuSince(before, servers.cpu(child.pid))
      peakMiB = Math.max(peakMiB, anonymousMiB(child.pid))
    } catch (error) {
      // It has just ended.
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
    await sleep(20)
  }
  if (child.exitCode !== 0) throw new Error(`${system} failed; its log is ${spec.logFile}`)
  const seconds = (performance.now() - beganMs) / 1e3
  return { system, whole: { events, seconds, cpu }, steady: null, peakMiB, writtenBytes: null, gc: null }
}

async function totalsOf(servers: BenchServers, topic: string): Promise<Totals> {
  return JSON.parse(await servers.runJava('ReadTotals', [servers.kafka.env.KAFKA_BROKERS, topic])) as Totals
}

function between(from: Look, to: Look): Stretch {
  return {
    events: to.done - from.done,
    seconds: (to.atMs - from.atMs) / 1e3,
    cpu: cpuSince(from.cpu, to.cpu),
  }
}
