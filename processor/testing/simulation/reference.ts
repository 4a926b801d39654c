import type { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { decodeMark, MARK_HEADER } from '../../../schemas/marks.ts'
import { HEADER_BYTES } from '../../../schemas/wire.ts'
import type { SinkNode } from '../../topology/graph.ts'
import type { Plan, SinkSpec } from '../../topology/plan.ts'
import { event, sourceTopicOf, TIMING } from './pipelines.ts'

/** Rows as texts, by the destination's name: in no order, each as often as it has to be there. */
export type Outputs = Map<string, string[]>

interface Time {
  watermark: number
  e: number
  readonly writers: Map<string, { t: number; untilMs: number }>
}

interface Total {
  records: number
  amount: number
  /** Of the pipeline that has them. */
  readonly ordered?: Ordered[]
}

/** What is needed of a record where the order counts. */
interface Ordered {
  readonly at: number
  readonly partition: number
  readonly offset: number
  readonly id: string
  readonly amount: number
}

/**
 * What a pipeline has to give, recomputed from the source partitions alone: a few loops that share
 * no code with the engine, and know of no task, no commit and no state.
 */
export function expectedOutputs(cluster: SimulatedCluster, plan: Plan): Outputs {
  const raw: string[] = []
  const late: string[] = []
  const totals = new Map<number, Total>()
  const byKey = new Map<string, Total>()
  let greatestE = -Infinity
  const isOrdered = plan.pipeline.graph.nodes.some(({ kind }) => kind === 'merge')
  for (const [number, partition] of cluster.topic(sourceTopicOf(plan))!.partitions.entries()) {
    const time: Time = { watermark: -Infinity, e: -Infinity, writers: new Map() }
    const kept = new Map<string, number[]>()
    for (const { batch } of partition.inspect()) {
      for (let i = 0; i < batch.count; i++) {
        const value = batch.valueAt(i)!
        const ingestedMs = batch.timestampAt(i)
        if (batch.headerAt(i, MARK_HEADER) !== undefined) {
          observe(time, decodeMark(value), ingestedMs)
          greatestE = Math.max(greatestE, time.e)
          continue
        }
        const row = event.sourceSchema.decode(value, HEADER_BYTES, value.length) as {
          _event_time: number
          _watermark: number | null
          id: string
          key: string
          amount: number
        }
        const id = `${row.key}/${row.id}`
        if (isCopy(kept, id, ingestedMs)) continue
        raw.push(id)
        const start = Math.floor(row._event_time / TIMING.sizeMs) * TIMING.sizeMs
        const watermark = row._watermark ?? time.watermark
        if (watermark >= start + TIMING.sizeMs + TIMING.graceMs) late.push(`${id}@${start} watermark`)
        else if (start <= time.e) late.push(`${id}@${start} end`)
        else {
          const { id: ownId, amount, _event_time: at } = row
          const record = { at, partition: number, offset: batch.offsetAt(i), id: ownId, amount }
          add(totals, start, record, isOrdered)
          add(byKey, `${row.key}@${start}`, record, isOrdered)
        }
      }
    }
  }
  const outputs: Outputs = new Map([['sim.raw', raw]])
  for (const { node } of plan.sinks) {
    if (node.name === 'sim.totals') outputs.set(node.name, withEmptyWindows(totals, greatestE))
    if (node.name === 'sim.by_key')
      outputs.set(
        node.name,
        [...byKey].map(([key, total]) => text(key, total)),
      )
    if (node.name.endsWith('-late')) outputs.set(node.name, late)
  }
  return outputs
}

function observe(time: Time, mark: ReturnType<typeof decodeMark>, ingestedMs: number): void {
  if (mark.kind === 'end') time.e = Math.max(time.e, mark.e)
  if (mark.kind !== 'heartbeat') return
  time.writers.set(mark.writer, { t: mark.t, untilMs: ingestedMs + (mark.leaseMs ?? Infinity) })
  const held = [...time.writers.values()].filter(({ untilMs }) => untilMs >= ingestedMs)
  time.watermark = Math.max(time.watermark, Math.min(...held.map(({ t }) => t)))
  for (const [name, { untilMs }] of time.writers) if (untilMs < ingestedMs) time.writers.delete(name)
}

function isCopy(kept: Map<string, number[]>, id: string, ingestedMs: number): boolean {
  const times = kept.get(id) ?? []
  if (times.some((time) => Math.abs(time - ingestedMs) <= TIMING.horizonMs)) return true
  kept.set(id, [...times, ingestedMs])
  return false
}

function add<K>(totals: Map<K, Total>, key: K, record: Ordered, isOrdered: boolean): void {
  const total = totals.get(key) ?? { records: 0, amount: 0 }
  totals.set(key, {
    records: total.records + 1,
    amount: total.amount + record.amount,
    ...(isOrdered && { ordered: [...(total.ordered ?? []), record] }),
  })
}

/** First, last and the greatest of a window's records. */
function edgesOf(records: readonly Ordered[]): string {
  const sorted = [...records].sort((a, b) => a.at - b.at || a.partition - b.partition || a.offset - b.offset)
  const greatest = Math.max(...sorted.map(({ amount }) => amount % 7))
  return edgeText(sorted[0]!.id, sorted.at(-1)!.id, greatest)
}

function edgeText(first: unknown, last: unknown, greatest: unknown): string {
  return `, first ${String(first)}, last ${String(last)}, greatest ${String(greatest)}`
}

/** From the first window that holds something up to the last one that the end mark closes. */
function withEmptyWindows(totals: ReadonlyMap<number, Total>, e: number): string[] {
  const rows: string[] = []
  for (let start = Math.min(...totals.keys()); start <= e; start += TIMING.sizeMs) {
    rows.push(text(`@${start}`, totals.get(start) ?? { records: 0, amount: 0 }))
  }
  return rows
}

function text(key: string, { records, amount, ordered }: Total): string {
  return `${key}: ${records} records, ${amount}${ordered === undefined ? '' : edgesOf(ordered)}`
}

/**
 * What stands in the destinations' topics, as a read_committed reader sees it, once all is decided. Of updates the
 * last one of each key counts, as it does in a table.
 * @param takenBack gets the updates that do not go beyond the ones before them
 */
export function actualOutputs(cluster: SimulatedCluster, plan: Plan, takenBack: string[] = []): Outputs {
  const outputs: Outputs = new Map()
  for (const sink of plan.sinks) {
    const rows = hasUpdates(sink.node) ? new Updates(takenBack) : new Rows()
    for (const row of committedRows(cluster, sink)) rows.add(sink.node.name, row)
    outputs.set(sink.node.name, rows.texts)
  }
  return outputs
}

/** What readers at read_committed see of a destination, partition after partition. */
export function* committedRows(
  cluster: SimulatedCluster,
  { node, topic }: SinkSpec,
): Generator<Record<string, unknown>> {
  for (const partition of cluster.topic(topic)!.partitions) {
    for (const { batch, fate } of partition.inspect()) {
      if (fate === 'aborted' || fate === 'open') continue
      for (let i = 0; i < batch.count; i++) {
        if (batch.headerAt(i, MARK_HEADER) !== undefined) continue
        const value = batch.valueAt(i)!
        yield node.schema.decode(value, HEADER_BYTES, value.length) as Record<string, unknown>
      }
    }
  }
}

function hasUpdates({ input }: SinkNode): boolean {
  return 'emit' in input && input.emit === 'updates'
}

class Rows {
  readonly texts: string[] = []

  add(destination: string, row: Record<string, unknown>): void {
    this.texts.push(textOf(destination, row))
  }
}

class Updates {
  readonly #last = new Map<string, { text: string; records: number }>()
  readonly #takenBack: string[]

  constructor(takenBack: string[]) {
    this.#takenBack = takenBack
  }

  get texts(): string[] {
    return [...this.#last.values()].map((update) => update.text)
  }

  add(destination: string, row: Record<string, unknown>): void {
    const update = { text: textOf(destination, row), records: Number(row['records']) }
    const key = update.text.split(':')[0]!
    const before = this.#last.get(key)
    if (before !== undefined && before.records >= update.records) {
      this.#takenBack.push(`${destination}: ${update.text} follows ${before.text}`)
    }
    this.#last.set(key, update)
  }
}

function textOf(destination: string, row: Record<string, unknown>): string {
  const column = (name: string): string => String((row[name] as string | number | null | undefined) ?? '')
  const id = `${column('key')}/${column('id')}`
  if (destination === 'sim.raw') return id
  if (destination.endsWith('-late')) return `${id}@${column('window_start')} ${column('late_mark')}`
  const key = `${column('key')}@${column('window_start')}`
  const total = text(key, { records: Number(row['records']), amount: Number(row['amount']) })
  return row['first'] === undefined || row['first'] === null
    ? total
    : total + edgeText(row['first'], row['last'], row['greatest'])
}

/** What is there too often, or should not be there, and what is missing; empty where both are equal. */
export function differences(expected: Outputs, actual: Outputs): string[] {
  const found: string[] = []
  for (const [name, rows] of expected) {
    const counts = new Map<string, number>()
    for (const row of rows) counts.set(row, (counts.get(row) ?? 0) + 1)
    for (const row of actual.get(name) ?? []) counts.set(row, (counts.get(row) ?? 0) - 1)
    for (const [row, difference] of counts) {
      if (difference > 0) found.push(`${name}: ${row} is missing${times(difference)}`)
      if (difference < 0) found.push(`${name}: ${row} is there and should not be${times(-difference)}`)
    }
  }
  return found.sort()
}

function times(count: number): string {
  return count === 1 ? '' : ` (${count} times)`
}
