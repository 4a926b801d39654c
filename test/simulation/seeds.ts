import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { FAMILIES, scenarioOf, type Family } from '../../processor/testing/simulation/scenario.ts'
import { simulate } from '../../processor/testing/simulation/simulation.ts'

export interface SeedRange {
  readonly from: number
  readonly seeds: number
  readonly family?: Family
  /** Ends with the first seed that fails. */
  readonly untilViolated?: boolean
}

export interface Violated {
  readonly seed: number
  readonly family: Family
  readonly violations: readonly string[]
}

export interface SeedResults {
  readonly seeds: Map<Family, number>
  readonly violated: Violated[]
  readonly met: Map<string, number>
  events: number
  virtualMs: number
}

interface SeedResult extends Violated {
  readonly met: ReadonlyMap<string, number>
  readonly events: number
  readonly virtualMs: number
}

interface Share extends SeedRange {
  readonly step: number
}

/** Runs seeds one after another in this thread. */
export async function runSeeds(
  range: SeedRange,
  onSeed: (results: SeedResults) => void = () => undefined,
): Promise<SeedResults> {
  const results = noResults()
  for (let seed = range.from; seed < range.from + range.seeds; seed++) {
    add(results, await runSeed(seed, range.family))
    onSeed(results)
    if (range.untilViolated === true && results.violated.length > 0) break
  }
  return results
}

/** … or shared out over threads; the seeds' results do not depend on it. */
export async function runSeedsInThreads(
  range: SeedRange,
  jobs: number,
  onSeed: (results: SeedResults) => void,
): Promise<SeedResults> {
  const results = noResults()
  const threads = Array.from({ length: jobs }, (_, job) => {
    const share: Share = { ...range, from: range.from + job, seeds: range.seeds - job, step: jobs }
    return new Worker(new URL(import.meta.url), { workerData: share })
  })
  await Promise.all(
    threads.map(
      (thread) =>
        new Promise<void>((resolve, reject) => {
          thread.on('message', (result: SeedResult) => {
            add(results, result)
            onSeed(results)
            if (range.untilViolated === true && results.violated.length > 0) {
              for (const other of threads) void other.terminate()
            }
          })
          thread.on('error', reject)
          thread.on('exit', () => resolve())
        }),
    ),
  )
  results.violated.sort((a, b) => a.seed - b.seed)
  return results
}

async function runSeed(seed: number, family: Family | undefined): Promise<SeedResult> {
  const scenario = scenarioOf(seed, family)
  const { violations, events, virtualMs, met } = await simulate(scenario)
  return { seed, family: scenario.family, violations, events, virtualMs, met }
}

function noResults(): SeedResults {
  return {
    seeds: new Map(FAMILIES.map((family) => [family, 0])),
    violated: [],
    met: new Map(),
    events: 0,
    virtualMs: 0,
  }
}

function add(results: SeedResults, { seed, family, violations, events, virtualMs, met }: SeedResult): void {
  results.seeds.set(family, results.seeds.get(family)! + 1)
  for (const [what, count] of met) results.met.set(what, (results.met.get(what) ?? 0) + count)
  results.events += events
  results.virtualMs += virtualMs
  if (violations.length > 0) results.violated.push({ seed, family, violations })
}

if (!isMainThread && parentPort !== null && (workerData as Share | null)?.step !== undefined) {
  const { from, seeds, step, family } = workerData as Share
  for (let i = 0; i < seeds; i += step) parentPort.postMessage(await runSeed(from + i, family))
}
