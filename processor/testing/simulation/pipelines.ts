import { contract } from '../../../schemas/contract.ts'
import { table } from '../../../schemas/destinations.ts'
import { long, string, timestamp } from '../../../schemas/schema.ts'
import { definePipeline, source, type Pipeline } from '../../topology/pipeline.ts'
import { planPipeline, type Plan } from '../../topology/plan.ts'
import type { Stream } from '../../topology/stream.ts'
import { count, sum } from '../../windows/aggregates.ts'
import { first, last } from '../../windows/first-last.ts'
import { reduce } from '../../windows/reduce.ts'
import { tumbling } from '../../windows/tumbling.ts'

/**
 * Which operators stand behind the source and its dedupe: two-stage windows, windows by key, both, both with
 * an update at every commit, or both over streams that part and meet in a topic, by aggregates that hang on the
 * order of records. `watched`: windows by key, and stalls of the source, which the clock decides.
 */
export type PipelineKind = (typeof PIPELINE_KINDS)[number] | 'watched'

/** Those whose outputs hang on the source alone. */
export const PIPELINE_KINDS = ['totals', 'keyed', 'both', 'updates', 'ordered'] as const

/** Small, so that a few seconds of events fill several windows and segments. */
export const TIMING = { sizeMs: 2_000, graceMs: 1_000, horizonMs: 3_000, stalledAfterMs: 500 } as const

export const event = contract(
  'Event',
  { id: string(), key: string(), amount: long(), at: timestamp() },
  { id: ['key', 'id'], key: 'key', eventTime: 'at', disorder: '100s' },
)

export interface EventRow {
  readonly id: string
  readonly key: string
  readonly amount: number
  readonly at: number
}

const ORDERED = {
  first: first((e: EventRow) => e.id, string()),
  last: last((e: EventRow) => e.id, string()),
  // Of several the earliest.
  greatest: reduce(
    (e: EventRow) => `${e.amount % 7}`,
    (a, b) => (b > a ? b : a),
    string(),
  ),
}

function partedAndMet(events: Stream<EventRow>): Stream<EventRow> {
  const { odd, even } = events.branch({ odd: ({ amount }) => amount % 2 === 1, even: true })
  return odd.merge('met', even.repartition('evens'))
}

function pipelineOf(kind: PipelineKind): Pipeline {
  return definePipeline({
    name: 'sim',
    sources: { events: source('events', event, { dedupeHorizon: TIMING.horizonMs }) },
    build({ events }) {
      const windows = { grace: TIMING.graceMs }
      const options = { emit: kind === 'updates' ? 'updates' : 'final' } as const
      const columns = {
        records: count(),
        amount: sum((e: EventRow) => e.amount),
        ...(kind === 'ordered' && ORDERED),
      }
      events.to(table('sim.raw'))
      const stream = kind === 'ordered' ? partedAndMet(events) : events
      if (kind === 'watched') {
        events.stalls('stalled', { after: TIMING.stalledAfterMs }).to(table('sim.stalls'))
      }
      if (kind !== 'keyed' && kind !== 'watched') {
        const totals = stream.window(tumbling(TIMING.sizeMs, { ...windows, emptyWindows: true }))
        totals.aggregate('totals', columns, options).to(table('sim.totals'))
      }
      if (kind !== 'totals') {
        const byKey = stream.groupBy('key').window(tumbling(TIMING.sizeMs, windows))
        byKey.aggregate('by_key', columns, options).to(table('sim.by_key'))
      }
    },
  })
}

const plans = new Map<string, Plan>()

/** Built once: a plan is the same for all seeds. */
export function planOf(kind: PipelineKind, partitions: number): Plan {
  const name = `${kind}/${partitions}`
  let plan = plans.get(name)
  if (plan === undefined) plans.set(name, (plan = planPipeline(pipelineOf(kind), { partitions })))
  return plan
}

export function schemaIdsOf(plan: Plan): Map<string, number> {
  return new Map(plan.subjects.map(({ subject }, i) => [subject, i + 1]))
}

export function sourceTopicOf(plan: Plan): string {
  return plan.subTopologies.find(({ upstreams }) => upstreams.length === 0)!.inputTopic
}
