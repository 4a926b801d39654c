/**
 * What the processor alone costs: CPU-seconds per million events from a fetched batch's bytes to the bytes of
 * changelog and outputs, with neither log nor state behind them. Batches are as log/kafkajs gives them; making
 * them is not measured.
 *
 *   node bench/processor.ts [--pipelines windowed-totals,orders] [--keys 10000,100000] [--commits 30000,300000]
 *     [--events 3000000] [--cache 1024]
 *
 * A commit is every so many events: 300,000 is a second of a process that does 300,000 events/s. The cache is in
 * MiB: with less than the windows take, looking ahead and letting go are measured too, but not the state, which
 * answers at once that it has nothing.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parseArgs } from 'node:util'
import { ByteWriter, BatchBuilder, type RecordBatch } from '../log/batch.ts'
import { decodeRecords } from '../log/kafkajs/record-batch/decode.ts'
import { encodeRecordBatch } from '../log/kafkajs/record-batch/encode.ts'
import { partitionFor } from '../log/partitioner.ts'
import orders from '../pipelines/orders/index.ts'
import { Outputs } from '../processor/runtime/outputs.ts'
import { Task } from '../processor/runtime/task.ts'
import { CacheBudget } from '../processor/state/cache-budget.ts'
import type { TaskState } from '../processor/state/port.ts'
import type { Pipeline } from '../processor/topology/pipeline.ts'
import { planPipeline, type SubTopology } from '../processor/topology/plan.ts'
import { HEADER_BYTES, writeHeader } from '../schemas/wire.ts'
import windowedTotals, { event } from './windowed-totals.ts'

const { values } = parseArgs({
  options: {
    pipelines: { type: 'string', default: 'windowed-totals,orders' },
    keys: { type: 'string', default: '10000,100000' },
    commits: { type: 'string', default: '30000,300000' },
    events: { type: 'string', default: '3000000' },
    cache: { type: 'string', default: '1024' },
  },
})
const EVENTS = Number(values.events)
const PARTITIONS = 8
const BATCH_RECORDS = 4_000
const START_MS = Date.UTC(2026, 0, 1)
/** Of event time. */
const EVENTS_PER_SECOND = 2_500
const EVENT_BYTES = 200
const SCHEMA_ID = 1
/** Left out: start-up and compilation. */
const WARM_UP = 0.2

/** A state in which there is nothing, and that keeps nothing. */
const nowhere: TaskState = {
  found: null,
  newIncarnation: () => Promise.reject(new Error('a bench opens no task')),
  readMany: (keys) => Promise.resolve(keys.map(() => null)),
  async *scan() {},
  apply: () => Promise.resolve(),
}

/** Writes event n of a pipeline, and gives the partition where it goes. */
type WriteEvent = (builders: readonly BatchBuilder[], n: number, keys: number) => void

interface Subject {
  readonly pipeline: Pipeline
  readonly write: WriteEvent
}

const padding = 'x'.repeat(EVENT_BYTES)

const SUBJECTS: Readonly<Record<string, Subject>> = {
  'windowed-totals': {
    pipeline: windowedTotals,
    write: (builders, n, keys) => {
      const key = `key-${random(n) % keys}`
      const builder = begin(builders, key)
      event.schema.encode(builder.writer, {
        key,
        event_time: START_MS + (n * 1e3) / EVENTS_PER_SECOND,
        amount: (random(n + 0x1234567) % 40_000) / 4,
        payload: padding.slice(0, EVENT_BYTES - key.length - 20),
      })
      builder.end()
    },
  },
  orders: {
    pipeline: orders,
    write: (builders, n) => {
      const { contract } = sourceOf(orders)
      // One in a hundred comes twice.
      const id = n % 100 === 99 ? n - 50 : n
      const key = `order-${id}`
      const eventTimeMs = START_MS + (id * 1e3) / EVENTS_PER_SECOND
      const builder = begin(builders, key)
      builder.writer.ensure(HEADER_BYTES)
      writeHeader(builder.writer, SCHEMA_ID)
      const order = {
        order_id: key,
        customer_id: `customer-${random(id) % 10_000}`,
        amount: (random(id + 0x1234567) % 40_000) / 100,
        status: 'confirmed',
        country: 'DE',
        timestamp: eventTimeMs,
      }
      contract.encodeSource(builder.writer, order, eventTimeMs, eventTimeMs - contract.disorderMs)
      builder.end()
    },
  },
}

function sourceOf({ graph }: Pipeline): Extract<SubTopology['root'], { kind: 'source' }> {
  return graph.nodes.find((node) => node.kind === 'source')!
}

function begin(builders: readonly BatchBuilder[], key: string): BatchBuilder {
  const bytes = Buffer.from(key)
  const builder = builders[partitionFor(bytes, builders.length)]!
  builder.beginKey()
  builder.writer.bytes(bytes)
  builder.beginValue()
  return builder
}

/** Below 2^31, the same for the same n. */
function random(n: number): number {
  let h = Math.imul(n ^ 0x9e3779b9, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 1
}

/** Batches as a fetch gives them, of events that follow one another. */
class Events {
  readonly #builders: BatchBuilder[]
  readonly #offsets = new Array<number>(PARTITIONS).fill(0)
  readonly #write: WriteEvent
  readonly #keys: number
  readonly #topic: string
  #next = 0

  constructor(topic: string, write: WriteEvent, keys: number) {
    this.#topic = topic
    this.#write = write
    this.#keys = keys
    this.#builders = Array.from({ length: PARTITIONS }, (_, partition) => new BatchBuilder(topic, partition))
  }

  take(count: number): RecordBatch[] {
    const batches: RecordBatch[] = []
    for (let i = 0; i < count; i += BATCH_RECORDS * PARTITIONS) {
      const until = this.#next + Math.min(BATCH_RECORDS * PARTITIONS, count - i)
      while (this.#next < until) this.#write(this.#builders, this.#next++, this.#keys)
      for (const [partition, builder] of this.#builders.entries()) {
        if (builder.count === 0) continue
        batches.push(...this.#fetched(builder, partition))
        this.#offsets[partition]! += builder.count
        builder.clear()
      }
    }
    return batches
  }

  #fetched(builder: BatchBuilder, partition: number): RecordBatch[] {
    const into = new ByteWriter(builder.byteLength * 2)
    encodeRecordBatch(builder, ENCODING, into)
    const fetchOffset = this.#offsets[partition]!
    into.buffer.writeBigInt64BE(BigInt(fetchOffset), 0)
    const records = into.buffer.subarray(0, into.position)
    return decodeRecords({ topic: this.#topic, partition, records, fetchOffset, abortedTransactions: [] })
      .batches
  }
}

const ENCODING = {
  producerId: 1,
  producerEpoch: 0,
  baseSequence: 0,
  isTransactional: true,
  compression: 'none',
  timestampMs: START_MS,
} as const

interface Spent {
  processing: number
  freezing: number
  encoding: number
  events: number
  changes: number
  /** The longest that a freeze of all tasks took, ms. */
  longestFreezeMs: number
}

class Process {
  readonly #tasks: Task[]
  readonly #outputs = new Outputs()
  readonly #wire = new ByteWriter(1 << 20)
  readonly budget = new CacheBudget(Number(values.cache) * 2 ** 20)

  constructor(pipeline: Pipeline) {
    const plan = planPipeline(pipeline, { partitions: PARTITIONS })
    const sub = plan.subTopologies[0]!
    const schemaIds = new Map(plan.subjects.map(({ subject }) => [subject, SCHEMA_ID]))
    this.#tasks = Array.from(
      { length: PARTITIONS },
      (_, partition) =>
        new Task(
          sub,
          partition,
          {
            inputTopicId: 'input',
            position: 0,
            record: null,
            state: nowhere,
            checkpoint: { changelog: 0, windows: 0 },
            owner: { clusterId: 'bench', topicId: 'bench', token: 1 },
          },
          {
            plan,
            topologyHash: 'bench',
            schemaIds,
            outputs: this.#outputs,
            budget: this.budget,
            clock: { nowMs: () => START_MS },
          },
        ),
    )
  }

  async process(batches: readonly RecordBatch[]): Promise<void> {
    for (const batch of batches) await this.#tasks[batch.partition]!.process(batch)
  }

  async commit(spent: Spent): Promise<void> {
    const before = process.cpuUsage()
    const startedMs = performance.now()
    const frozen = []
    for (const task of this.#tasks) frozen.push(await task.freeze())
    spent.longestFreezeMs = Math.max(spent.longestFreezeMs, performance.now() - startedMs)
    const outputs = this.#outputs.freeze()
    spent.freezing += secondsSince(before)

    const encoding = process.cpuUsage()
    for (const task of frozen) {
      spent.changes += task.changelog.count
      if (task.changelog.count > 0) this.#encode(task.changelog)
      this.#encode(task.taskRecordAfter(0))
    }
    for (const output of outputs) this.#encode(output)
    spent.encoding += secondsSince(encoding)

    const releasing = process.cpuUsage()
    for (const task of frozen) task.release()
    this.#outputs.release()
    spent.freezing += secondsSince(releasing)
  }

  #encode(builder: BatchBuilder): void {
    this.#wire.position = 0
    encodeRecordBatch(builder, ENCODING, this.#wire)
  }
}

function secondsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function memoryBytes(): number {
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function measure(name: string, keys: number, commitEvents: number): Promise<void> {
  const { pipeline, write } = SUBJECTS[name]!
  const memoryBefore = memoryBytes()
  const running = new Process(pipeline)
  const events = new Events(sourceOf(pipeline).foreign?.topic ?? 'orders.order-events', write, keys)
  const spent: Spent = emptySpent()
  for (let done = 0; done < EVENTS; done += commitEvents) {
    if (done <= EVENTS * WARM_UP) Object.assign(spent, emptySpent())
    const batches = events.take(commitEvents)
    const before = process.cpuUsage()
    await running.process(batches)
    spent.processing += secondsSince(before)
    spent.events += commitEvents
    await running.commit(spent)
  }
  const kept = memoryBytes() - memoryBefore
  const per = (seconds: number): string => ((seconds / spent.events) * 1e6).toFixed(3).padStart(7)
  console.log(
    `${name.padEnd(16)} ${String(keys).padStart(7)} keys, commit each ${String(commitEvents).padStart(6)}:` +
      `${per(spent.processing + spent.freezing + spent.encoding)} CPU-s/M` +
      ` (process${per(spent.processing)}, freeze${per(spent.freezing)}, encode${per(spent.encoding)};` +
      ` ${(spent.changes / spent.events).toFixed(2)} changes an event, freeze ≤ ${spent.longestFreezeMs.toFixed(0)} ms)` +
      ` kept ${(kept / 2 ** 20).toFixed(0)} MiB, counted ${(running.budget.usedBytes / 2 ** 20).toFixed(0)} MiB`,
  )
}

function emptySpent(): Spent {
  return { processing: 0, freezing: 0, encoding: 0, events: 0, changes: 0, longestFreezeMs: 0 }
}

for (const name of values.pipelines.split(',')) {
  // An order is its own key.
  const keyCounts = name === 'orders' ? [EVENTS] : values.keys.split(',').map(Number)
  for (const keys of keyCounts) {
    for (const commitEvents of values.commits.split(',').map(Number)) await measure(name, keys, commitEvents)
  }
}
