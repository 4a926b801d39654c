import { BatchBuilder } from '../../../log/batch.ts'
import { partitionFor } from '../../../log/partitioner.ts'
import { encodeMark, MARK_HEADERS, type Mark } from '../../../schemas/marks.ts'
import { writeHeader } from '../../../schemas/wire.ts'
import type { Plan } from '../../topology/plan.ts'
import { event, schemaIdsOf, sourceTopicOf, type EventRow } from './pipelines.ts'
import type { Random } from './random.ts'

/** What is put into the source topic at one moment, in this order. */
export interface SourceStep {
  /** From the start of the run. */
  readonly atMs: number
  readonly records: readonly { readonly row: EventRow; readonly watermarkMs: number | null }[]
  /** Behind the records, into these partitions. */
  readonly mark: Mark | null
  readonly partitions: readonly number[]
}

export interface ScriptOptions {
  /** A file, or a bridge of two writers whose heartbeats have leases. */
  readonly writers: 'positional' | 'bridge'
  readonly partitions: number
  readonly records: number
  readonly durationMs: number
  /** One of the bridge's writers, or both, are silent for a while, and come back with what was held up. */
  readonly outage: boolean | 'both'
  /** Towards the end nothing comes but marks. */
  readonly endsQuiet: boolean
}

/** Where event time begins. */
export const EVENT_START_MS = Date.UTC(2026, 0, 1)

const KEYS = ['a', 'b', 'c', 'd', 'e']
/** Events happen faster than the run: so many ms of event time in a ms. */
const SPEED = 2.5

/** What the sources of a run write, from the seed alone. */
export function makeScript(random: Random, options: ScriptOptions): SourceStep[] {
  const steps = options.writers === 'positional' ? positional(random, options) : bridge(random, options)
  const greatest = Math.max(
    ...steps.flatMap(({ records, mark }) => [...records.map(({ row }) => row.at), timeOf(mark)]),
  )
  steps.sort((a, b) => a.atMs - b.atMs)
  const e = Math.max(greatest, EVENT_START_MS)
  steps.push({
    atMs: options.durationMs + 1,
    records: [],
    mark: { kind: 'end', e },
    partitions: all(options),
  })
  return steps
}

/** Every record carries the watermark before it; a heartbeat without a lease follows; sometimes a run ends in between. */
function positional(random: Random, options: ScriptOptions): SourceStep[] {
  const steps: SourceStep[] = []
  const rows = new Rows(random, random.pick([500, 3_000]))
  let t: number | null = null
  for (const atMs of moments(random, options)) {
    const records: { row: EventRow; watermarkMs: number | null }[] = []
    for (let i = isQuiet(atMs, options) ? 0 : random.int(1, 5); i > 0 && rows.count < options.records; i--) {
      const row = rows.next(EVENT_START_MS + atMs * SPEED)
      records.push({ row, watermarkMs: t })
      t = Math.max(t ?? -Infinity, row.at - rows.disorderMs)
    }
    const endsRun = t !== null && random.chance(0.05)
    const mark: Mark | null = endsRun
      ? { kind: 'end', e: rows.greatestMs }
      : t !== null && random.chance(0.7)
        ? { kind: 'heartbeat', writer: 'events', t }
        : null
    steps.push({ atMs, records, mark, partitions: all(options) })
  }
  return steps
}

/** Two writers promise each for itself; a promise is broken now and then. */
function bridge(random: Random, options: ScriptOptions): SourceStep[] {
  const steps: SourceStep[] = []
  const leaseMs = random.int(1_000, 3_000)
  const [silentFrom, silentTo] = options.outage
    ? [options.durationMs * 0.3, options.durationMs * random.pick([0.5, 0.8])]
    : [Infinity, Infinity]
  const some = random.pick([['w0'], ['w1'], ['w0', 'w1']])
  const silent = options.outage === 'both' ? ['w0', 'w1'] : some
  const rows = new Rows(random, 800)
  for (const writer of ['w0', 'w1']) {
    for (const atMs of moments(random, options)) {
      if (silent.includes(writer) && atMs >= silentFrom && atMs < silentTo) continue
      const nowMs = EVENT_START_MS + atMs * SPEED
      // Behind an outage: what was held up comes first.
      const backMs = silent.includes(writer) && atMs >= silentTo && random.chance(0.3) ? 2_000 : 0
      const records: { row: EventRow; watermarkMs: null }[] = []
      for (
        let i = isQuiet(atMs, options) ? 0 : random.int(0, 3);
        i > 0 && rows.count < options.records;
        i--
      ) {
        records.push({ row: rows.next(nowMs - random.next() * backMs), watermarkMs: null })
      }
      const t = Math.floor(nowMs - 1_000)
      steps.push({ atMs, records, mark: { kind: 'heartbeat', writer, t, leaseMs }, partitions: all(options) })
    }
  }
  return steps
}

class Rows {
  count = 0
  greatestMs = EVENT_START_MS
  readonly disorderMs: number
  readonly #random: Random
  readonly #made: EventRow[] = []

  constructor(random: Random, disorderMs: number) {
    this.#random = random
    this.disorderMs = disorderMs
  }

  next(aboutMs: number): EventRow {
    const random = this.#random
    this.count++
    const isCopy = this.#made.length > 0 && random.chance(0.15)
    const disorderMs = random.chance(0.1) ? 3 * this.disorderMs : this.disorderMs
    const row = isCopy
      ? random.pick(this.#made)
      : {
          id: `${this.count}`,
          key: random.pick(KEYS),
          amount: random.int(1, 1_000),
          at: Math.floor(Math.max(EVENT_START_MS, aboutMs - random.next() * disorderMs)),
        }
    if (!isCopy) this.#made.push(row)
    this.greatestMs = Math.max(this.greatestMs, row.at)
    return row
  }
}

function moments(random: Random, { durationMs }: ScriptOptions): number[] {
  const found: number[] = []
  for (let atMs = random.next() * 200; atMs < durationMs; atMs += 50 + random.next() * 600) found.push(atMs)
  return found
}

function isQuiet(atMs: number, { endsQuiet, durationMs }: ScriptOptions): boolean {
  return endsQuiet && atMs > durationMs * 0.5
}

function all({ partitions }: ScriptOptions): number[] {
  return Array.from({ length: partitions }, (_, i) => i)
}

function timeOf(mark: Mark | null): number {
  if (mark === null) return -Infinity
  return mark.kind === 'heartbeat' ? mark.t : mark.kind === 'end' ? mark.e : -Infinity
}

/** A step as the batches of the source's partitions. */
export function batchesOf({ records, mark, partitions }: SourceStep, plan: Plan): BatchBuilder[] {
  const topic = sourceTopicOf(plan)
  const schemaId = schemaIdsOf(plan).get(`${topic}-value`)!
  const builders = Array.from({ length: plan.partitions }, (_, i) => new BatchBuilder(topic, i))
  for (const { row, watermarkMs } of records) {
    const key = Buffer.from(event.keyOf(row))
    const builder = builders[partitionFor(key, builders.length)]!
    builder.beginKey()
    builder.writer.bytes(key)
    builder.beginValue()
    writeHeader(builder.writer, schemaId)
    event.encodeSource(builder.writer, row, row.at, watermarkMs)
    builder.end()
  }
  if (mark !== null) for (const i of partitions) builders[i]!.append(null, encodeMark(mark), MARK_HEADERS)
  return builders.filter(({ count }) => count > 0)
}
