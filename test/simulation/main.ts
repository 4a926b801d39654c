/**
 * `npm run simulate -- --seeds 100000`: runs the real workers over a simulated Kafka and Redis, one
 * schedule a seed, and checks what they wrote. A seed that fails prints its last steps and how to
 * run it again; `--mutations` breaks the protocol in known ways, each of which has to be noticed.
 */
import { parseArgs } from 'node:util'
import { scenarioOf } from '../../processor/testing/simulation/scenario.ts'
import { simulate } from '../../processor/testing/simulation/simulation.ts'
import { familyNamed, MUTATIONS, tryMutation } from './mutations.ts'
import { runSeedsInThreads, type SeedResults, type Violated } from './seeds.ts'

const LAST_STEPS = 150
const PROGRESS_MS = 10_000

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '0' },
    jobs: { type: 'string', default: '2' },
    family: { type: 'string' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'until-violated': { type: 'boolean', default: false },
    mutations: { type: 'boolean', default: false },
    mutation: { type: 'string' },
  },
})

async function runOne(seed: number, withTrace: boolean): Promise<boolean> {
  const steps: string[] = []
  const scenario = scenarioOf(seed, familyNamed(values.family))
  const { violations, events, virtualMs } = await simulate(scenario, { onEvent: (step) => steps.push(step) })
  console.log(JSON.stringify(scenario, null, 2))
  console.log((withTrace ? steps : steps.slice(-LAST_STEPS)).join('\n'))
  console.log(`seed ${seed}: ${events} events, ${(virtualMs / 1_000).toFixed(1)} s of virtual time`)
  for (const violation of violations) console.log(`  VIOLATED: ${violation}`)
  return violations.length === 0
}

async function runMany(): Promise<boolean> {
  const [from, seeds, jobs] = [Number(values.from), Number(values.seeds), Number(values.jobs)]
  const family = familyNamed(values.family)
  const startMs = Date.now()
  let saidMs = startMs
  const range = {
    from,
    seeds,
    untilViolated: values['until-violated'],
    ...(family === undefined ? {} : { family }),
  }
  const results = await runSeedsInThreads(range, jobs, (soFar) => {
    if (Date.now() - saidMs < PROGRESS_MS) return
    saidMs = Date.now()
    const done = [...soFar.seeds.values()].reduce((sum, count) => sum + count, 0)
    console.log(`${done} of ${seeds} seeds, ${soFar.violated.length} violated`)
  })
  report(results, Date.now() - startMs)
  const [first] = results.violated
  if (first !== undefined && !values['until-violated']) await runOne(first.seed, false)
  return first === undefined
}

function report({ seeds, violated, met, events, virtualMs }: SeedResults, tookMs: number): void {
  const done = [...seeds.values()].reduce((sum, count) => sum + count, 0)
  console.log(`\n${'what the seeds lean to'.padEnd(36)}${'seeds'.padStart(8)}${'violated'.padStart(10)}`)
  for (const [family, count] of seeds) {
    const bad = violated.filter((one) => one.family === family).length
    console.log(`${family.padEnd(36)}${String(count).padStart(8)}${String(bad).padStart(10)}`)
  }
  console.log(
    `${'in all'.padEnd(36)}${String(done).padStart(8)}${String(violated.length).padStart(10)}\n` +
      `${events} events, ${(virtualMs / 3_600_000).toFixed(1)} h of virtual time in ${(tookMs / 1_000).toFixed(0)} s ` +
      `(${(tookMs / Math.max(1, done)).toFixed(1)} ms a seed)`,
  )
  console.log(
    [...met]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, count]) => `${what}: ${count}`)
      .join(', '),
  )
  for (const one of violated.slice(0, 20)) console.log(described(one))
}

function described({ seed, family, violations }: Violated): string {
  return `seed ${seed} (${family}): ${violations[0]!.split('\n')[0]!}\n  again: npm run simulate -- --seed ${seed} --trace`
}

async function runMutations(): Promise<boolean> {
  const chosen = MUTATIONS.filter(
    ({ name }) => values.mutation === undefined || name.includes(values.mutation),
  )
  let missed = 0
  for (const mutation of chosen) {
    const outcome = await tryMutation(mutation, { seeds: Number(values.seeds), jobs: Number(values.jobs) })
    if (!outcome.isCaught) missed++
    console.log(`${outcome.isCaught ? 'caught' : 'MISSED'}  ${mutation.name}: ${outcome.text}`)
  }
  console.log(`${chosen.length - missed} of ${chosen.length} mutations were caught.`)
  return missed === 0
}

const isGood =
  values.mutations || values.mutation !== undefined
    ? await runMutations()
    : values.seed !== undefined
      ? await runOne(Number(values.seed), values.trace)
      : await runMany()
process.exitCode = isGood ? 0 : 1
