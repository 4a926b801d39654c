import type { ProcessorError } from '../../runtime/errors.ts'
import { PROTOCOL_STEPS, type ProtocolStep } from '../../runtime/protocol.ts'
import { PIPELINE_KINDS, type PipelineKind } from './pipelines.ts'
import { Random } from './random.ts'
import type { Weather } from './scheduler.ts'
import type { ScriptOptions } from './script.ts'

/** What happens to the parts of a run, beside what the weather does to their messages. */
export type Fault = { readonly atMs: number } & (
  | { readonly kind: 'kill'; readonly process: number; readonly restartMs: number }
  | {
      readonly kind: 'kill at'
      readonly process: number
      readonly step: ProtocolStep
      readonly restartMs: number
    }
  | { readonly kind: 'pause'; readonly process: number; readonly forMs: number }
  /** Taken for dead, and another process is started in its place, while it is only stopped. */
  | { readonly kind: 'replace'; readonly process: number; readonly forMs: number; readonly restartMs: number }
  | {
      readonly kind: 'pause at'
      readonly process: number
      readonly step: ProtocolStep
      readonly forMs: number
    }
  | { readonly kind: 'restart'; readonly process: number; readonly restartMs: number }
  | { readonly kind: 'state snapshot' | 'state flush' }
  /** To the copy that was made so many snapshots ago. */
  | { readonly kind: 'state failover'; readonly back: number }
  | {
      readonly kind: 'state away'
      readonly from: 'odd partitions' | 'everybody'
      readonly forMs: number
    }
  /** Everybody stops for long enough that the group's offsets are gone, and the source's records where so asked. */
  | { readonly kind: 'long stop'; readonly forMs: number; readonly pastRetention: boolean }
)

export interface Scenario {
  readonly seed: number
  readonly family: Family
  readonly pipeline: PipelineKind
  readonly processes: number
  readonly script: ScriptOptions
  readonly scriptSeed: number
  readonly scheduleSeed: number
  readonly weather: Weather
  readonly faults: readonly Fault[]
  readonly worker: {
    readonly commitIntervalMs: number
    readonly commitRecords: number
    readonly cacheBytes: number
    readonly fetchBytes: number
    readonly inlineRestoreRecords: number
    readonly restoreBytes: number
  }
  /** A restarted process has the instance id that it had. */
  readonly keepsInstance: boolean
  readonly retries: number
  /** Members join before they revoke. */
  readonly joinsFirst: boolean
  readonly chunkRows: number
  /** The state holds what another log's tasks of the same names left, under tokens that are higher than ours. */
  readonly hasForeignState: boolean
  /** The log's cleaner is at work all the time. */
  readonly compacts: boolean
  /** Readers get as many batches at a time as there are, joined. */
  readonly joinsBatches: boolean
  /** The error that every process has to end with instead of going on; null: none. */
  readonly expectedStop: ProcessorError['code'] | null
}

/** What a seed leans to; the numbers are those of the design's list (§12, "Simulate first"). */
export const FAMILIES = [
  'calm',
  'anything',
  'joined, not synced (1)',
  'idle zombies (2)',
  'lagging stages (3)',
  'death inside transactions (4)',
  'slow commits, many owners (5)',
  'state failovers (6)',
  'zombies in restores and chunks (7)',
  'writers that stall (8)',
  'first starts and long stops (9)',
  'slow markers',
  'late requests',
  'restores behind',
  'sources that stall',
] as const

export type Family = (typeof FAMILIES)[number]

const STATE_FAULTS = ['state snapshot', 'state failover', 'state flush', 'state away'] as const

/** Everything about a run, from its seed. */
export function scenarioOf(seed: number, family: Family = FAMILIES[seed % FAMILIES.length]!): Scenario {
  const random = new Random(seed * 7_919 + 17)
  const durationMs = random.int(2_000, 8_000)
  const processes = family === 'calm' ? random.int(1, 2) : random.int(1, 3)
  const base: Scenario = {
    seed,
    family,
    pipeline: random.pick(PIPELINE_KINDS),
    processes,
    script: {
      writers: random.pick(['positional', 'bridge']),
      partitions: random.int(1, 3),
      records: random.int(15, 50),
      durationMs,
      outage: random.chance(0.3),
      endsQuiet: random.chance(0.3),
    },
    scriptSeed: random.int(0, 2 ** 31),
    scheduleSeed: random.int(0, 2 ** 31),
    weather: weatherOf(random),
    faults: [],
    worker: {
      commitIntervalMs: random.pick([20, 100, 400]),
      commitRecords: random.pick([5, 10_000]),
      cacheBytes: random.pick([0, 0, 2_000, 48 * 1024 * 1024]),
      fetchBytes: random.pick([300, 3_000, 1024 * 1024]),
      inlineRestoreRecords: random.pick([0, 5, 10_000]),
      // This and `joinsBatches` are not drawn: seeds that once failed keep their schedules.
      restoreBytes: [48 * 1024 * 1024, 20_000, 1][seed % 3]!,
    },
    keepsInstance: random.chance(0.5),
    retries: random.int(0, 3),
    joinsFirst: random.chance(0.2),
    chunkRows: random.pick([1, 3, 1_000]),
    hasForeignState: random.chance(0.15),
    compacts: random.chance(0.3),
    joinsBatches: seed % 2 === 1,
    expectedStop: null,
  }
  return LEANINGS[family](base, random)
}

type Leaning = (base: Scenario, random: Random) => Scenario

const LEANINGS: Record<Family, Leaning> = {
  calm: (base) => ({ ...base, weather: { usualMs: 3, slowMs: 3, slowChance: 0, breakChance: 0 } }),
  anything: (base, random) => ({
    ...base,
    faults: timed(random, base, random.int(2, 8), (atMs) => anyFault(random, base, atMs)),
  }),
  'joined, not synced (1)': (base, random) => {
    const scenario = {
      ...base,
      processes: random.int(2, 3),
      weather: { ...base.weather, slowChance: 0.1 },
      joinsFirst: random.chance(0.7),
    }
    return {
      ...scenario,
      faults: timed(random, scenario, random.int(3, 6), (atMs) =>
        random.chance(0.5)
          ? pauseAt(random, scenario, atMs, ['commit.1', 'commit.2', 'commit.3', 'open.2'])
          : { atMs, kind: 'restart', process: random.int(0, 2), restartMs: random.int(10, 800) },
      ),
    }
  },
  'idle zombies (2)': (base, random) => {
    const scenario = {
      ...base,
      processes: random.int(2, 3),
      script: { ...base.script, endsQuiet: random.chance(0.5), writers: 'bridge' as const },
    }
    return {
      ...scenario,
      faults: timed(random, scenario, random.int(3, 6), (atMs) => {
        const pause = { atMs, process: random.int(0, 2), forMs: random.int(2_500, 7_000) }
        if (random.chance(0.3)) return { ...pause, kind: 'replace', restartMs: random.int(10, 1_000) }
        return random.chance(0.5)
          ? { ...pause, kind: 'pause' }
          : { ...pause, kind: 'pause at', step: 'commit.6' }
      }),
    }
  },
  'lagging stages (3)': (base, random) => ({
    ...base,
    pipeline: random.pick(['totals', 'both']),
    processes: random.int(2, 3),
    script: { ...base.script, partitions: random.int(2, 3) },
    weather: { usualMs: 20, slowMs: 3_000, slowChance: 0.08, breakChance: 0 },
    faults: timed(random, base, random.int(1, 3), (atMs) => ({
      atMs,
      kind: 'pause',
      process: random.int(0, 2),
      forMs: random.int(200, 2_000),
    })),
  }),
  'death inside transactions (4)': (base, random) => ({
    ...base,
    faults: timed(random, base, random.int(3, 7), (atMs) => ({
      atMs,
      kind: 'kill at',
      process: random.int(0, 2),
      step: random.pick([
        'open.1',
        'open.2',
        'open.3',
        'commit.1',
        'commit.2',
        'commit.3',
        'commit.4',
      ] as const),
      restartMs: random.pick([1, 100, 4_000]),
    })),
  }),
  'slow commits, many owners (5)': (base, random) => ({
    ...base,
    processes: 3,
    weather: { usualMs: 120, slowMs: 600, slowChance: 0.1, breakChance: 0.002 },
    faults: timed(random, base, random.int(4, 8), (atMs) => ({
      atMs,
      kind: 'restart',
      process: random.int(0, 2),
      restartMs: random.int(1, 300),
    })),
  }),
  'state failovers (6)': (base, random) => ({
    ...base,
    chunkRows: random.pick([1, 3]),
    worker: { ...base.worker, commitRecords: 10_000 },
    faults: random.chance(0.5)
      ? timed(random, base, random.int(6, 14), (atMs) =>
          random.chance(0.85) ? stateFault(random, atMs) : killAt(random, base, atMs, PROTOCOL_STEPS),
        )
      : failovers(random, base),
  }),
  'zombies in restores and chunks (7)': (base, random) => {
    const scenario = { ...base, processes: random.int(2, 3), chunkRows: 1 }
    return {
      ...scenario,
      faults: timed(random, scenario, random.int(4, 8), (atMs) => {
        if (random.chance(0.3)) return { atMs, kind: 'state flush' }
        return random.chance(0.5)
          ? pauseAt(random, scenario, atMs, ['open.3', 'commit.4'])
          : { atMs, kind: 'pause', process: random.int(0, 2), forMs: random.int(2_000, 6_000) }
      }),
    }
  },
  'restores behind': (base, random) => {
    const scenario: Scenario = {
      ...base,
      processes: 1,
      chunkRows: 1,
      script: { ...base.script, partitions: random.int(2, 3), records: random.int(80, 160) },
      weather: { usualMs: random.int(5, 30), slowMs: 200, slowChance: 0.05, breakChance: 0 },
      worker: {
        ...base.worker,
        commitIntervalMs: random.pick([20, 400]),
        fetchBytes: 300,
        inlineRestoreRecords: 0,
        cacheBytes: 0,
      },
    }
    // What is lost is restored, step by step; while it is, the others' state is away for a moment.
    const lost = timed(random, scenario, random.int(2, 5), (atMs): Fault => ({ atMs, kind: 'state flush' }))
    const away = lost.map(({ atMs }): Fault => ({
      atMs: atMs + random.int(20, 800),
      kind: 'state away',
      from: 'odd partitions',
      forMs: random.int(50, 600),
    }))
    return { ...scenario, faults: [...lost, ...away].sort((a, b) => a.atMs - b.atMs) }
  },
  'writers that stall (8)': (base, random) => ({
    ...base,
    script: { ...base.script, writers: 'bridge', outage: true },
    faults: timed(random, base, random.int(0, 4), (atMs) => anyFault(random, base, atMs)),
  }),
  'sources that stall': (base, random) => {
    const scenario: Scenario = {
      ...base,
      pipeline: 'watched',
      script: {
        ...base.script,
        writers: random.pick(['bridge', 'bridge', 'positional']),
        outage: 'both',
        durationMs: random.int(6_000, 14_000),
      },
    }
    if (random.chance(0.2))
      return LEANINGS.calm({ ...scenario, worker: { ...base.worker, commitIntervalMs: 20 } }, random)
    const clockOnly = ['commit.1', 'commit.2', 'commit.3', 'commit.4', 'commit.6'] as const
    return {
      ...scenario,
      faults: timed(random, scenario, random.int(2, 7), (atMs) => {
        if (random.chance(0.3)) return anyFault(random, scenario, atMs)
        return random.chance(0.5)
          ? killAt(random, scenario, atMs, clockOnly)
          : pauseAt(random, scenario, atMs, clockOnly)
      }),
    }
  },
  'first starts and long stops (9)': (base, random) => ({
    ...base,
    faults: [
      killAt(random, base, 0, PROTOCOL_STEPS),
      ...timed(random, base, random.int(1, 3), (atMs): Fault =>
        random.chance(0.4)
          ? { atMs, kind: 'long stop', forMs: random.int(200, 1_000), pastRetention: false }
          : killAt(random, base, atMs, PROTOCOL_STEPS),
      ),
    ],
  }),
  'slow markers': (base, random) => ({
    ...base,
    weather: {
      usualMs: 3,
      slowMs: 500,
      slowChance: 0.01,
      breakChance: 0,
      markersMs: random.pick([300, 1_500]),
    },
    keepsInstance: false,
    worker: { ...base.worker, commitIntervalMs: 400 },
    faults: timed(random, base, random.int(5, 10), (atMs) =>
      random.chance(0.2)
        ? killAt(random, base, atMs, ['commit.3', 'commit.4', 'open.2'])
        : { atMs, kind: 'restart', process: random.int(0, 2), restartMs: random.int(1, 100) },
    ),
  }),
  'late requests': (base, random) => ({
    ...base,
    weather: { ...base.weather, usualMs: 5, breakChance: 0.04 },
    worker: { ...base.worker, commitIntervalMs: 20 },
    retries: random.int(2, 3),
    faults: timed(random, base, random.int(0, 2), (atMs) => anyFault(random, base, atMs)),
  }),
}

function weatherOf(random: Random): Weather {
  return {
    usualMs: random.pick([1, 5, 30]),
    slowMs: random.pick([100, 1_000, 4_000]),
    slowChance: random.pick([0, 0.01, 0.05]),
    breakChance: random.pick([0, 0, 0.005, 0.02]),
  }
}

function timed(random: Random, base: Scenario, count: number, make: (atMs: number) => Fault): Fault[] {
  const untilMs = base.script.durationMs + 1_500
  return Array.from({ length: count }, () => make(random.int(50, untilMs))).sort((a, b) => a.atMs - b.atMs)
}

function anyFault(random: Random, base: Scenario, atMs: number): Fault {
  const process = random.int(0, base.processes - 1)
  switch (random.int(0, 7)) {
    case 0:
      return { atMs, kind: 'kill', process, restartMs: random.pick([1, 500, 4_000]) }
    case 1:
      return { atMs, kind: 'pause', process, forMs: random.int(100, 7_000) }
    case 2:
      return { atMs, kind: 'restart', process, restartMs: random.int(1, 1_000) }
    case 3:
      return pauseAt(random, base, atMs, PROTOCOL_STEPS)
    case 4:
      return killAt(random, base, atMs, PROTOCOL_STEPS)
    case 5:
      return { atMs, kind: 'replace', process, forMs: random.int(100, 6_000), restartMs: random.int(1, 500) }
    default:
      return stateFault(random, atMs)
  }
}

function stateFault(random: Random, atMs: number): Fault {
  const kind = random.pick(STATE_FAULTS)
  if (kind === 'state failover') return { atMs, kind, back: random.int(1, 3) }
  if (kind === 'state away') {
    const from = random.pick(['odd partitions', 'everybody'] as const)
    return { atMs, kind, from, forMs: random.int(50, 3_000) }
  }
  return { atMs, kind }
}

/** Each to a copy that was made a moment ago: in the middle of a write, or a commit or two before. */
function failovers(random: Random, base: Scenario): Fault[] {
  const copies = timed(random, base, random.int(8, 16), (atMs) => ({ atMs, kind: 'state snapshot' }))
  return copies
    .flatMap((copy): Fault[] => {
      const laterMs = 1 + random.next() * random.pick([20, 100, 600])
      return [copy, { atMs: copy.atMs + laterMs, kind: 'state failover', back: 1 }]
    })
    .sort((a, b) => a.atMs - b.atMs)
}

function killAt(random: Random, base: Scenario, atMs: number, steps: readonly ProtocolStep[]): Fault {
  const process = random.int(0, base.processes - 1)
  return { atMs, kind: 'kill at', process, step: random.pick(steps), restartMs: random.pick([1, 500, 4_000]) }
}

function pauseAt(random: Random, base: Scenario, atMs: number, steps: readonly ProtocolStep[]): Fault {
  const process = random.int(0, base.processes - 1)
  return { atMs, kind: 'pause at', process, step: random.pick(steps), forMs: random.int(2_500, 7_000) }
}
