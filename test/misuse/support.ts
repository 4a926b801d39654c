/**
 * A small pipeline on real servers, which a test misuses and then mends: what it wrote must be what an
 * undisturbed run would have written.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDrained } from '../../cli/roles/drain.ts'
import type { Admin } from 'kafkajs'
import { systemClock } from '../../config/clock.ts'
import { BatchBuilder, type ProduceBatch } from '../../log/batch.ts'
import { openKafkaLog, type KafkaLogOptions } from '../../log/kafkajs/kafka-log.ts'
import { TopicInspector } from '../../log/kafkajs/topic-inspector.ts'
import { partitionFor } from '../../log/partitioner.ts'
import type { Log } from '../../log/port.ts'
import { setUp } from '../../processor/runtime/setup.ts'
import { Worker, type WorkerOptions } from '../../processor/runtime/worker.ts'
import { RedisState } from '../../processor/state/redis/redis-state.ts'
import type { AnySchema } from '../../processor/topology/graph.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import { inputPartitions, planPipeline, type Plan } from '../../processor/topology/plan.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { deadLetterSchema, type DeadLetter } from '../../schemas/dead-letter.ts'
import { table } from '../../schemas/destinations.ts'
import type { Duration } from '../../schemas/duration.ts'
import { encodeMark, MARK_HEADER, MARK_HEADERS, type Mark } from '../../schemas/marks.ts'
import { EmbeddedRegistry, type RegistryEntry } from '../../schemas/registry.ts'
import { double, string, timestamp } from '../../schemas/schema.ts'
import { HEADER_BYTES, writeHeader } from '../../schemas/wire.ts'
import { plainKafkajs } from '../log/kafkajs/support.ts'
import { until } from '../support/until.ts'

/** Of both partitions. */
const CUSTOMERS = ['ann', 'bob', 'cem', 'dora', 'eve']
const MINUTE = 60_000
const START = Date.UTC(2026, 0, 1)
const PATIENCE_MS = 60_000
const HEARD_MS = 60_000
const READ_BYTES = 8 * 2 ** 20

export const order = contract(
  'Order',
  { id: string(), customer: string(), amount: double(), happened: timestamp() },
  { id: ['customer', 'id'], key: 'customer', eventTime: 'happened', disorder: '1h' },
)

export interface Order {
  readonly id: string
  readonly customer: string
  readonly amount: number
  readonly happened: number
}

export function orderAt(number: number, customer: string): Order {
  return { id: `o-${number}`, customer, amount: number + 0.25, happened: START + number * 7_000 }
}

/** Copies, sums by customer, and sums over all in two stages. */
export function pipelineOf({ window = '1m' }: { readonly window?: Duration } = {}): Pipeline {
  return definePipeline({
    name: 'misuse',
    sources: { orders: source('orders', order) },
    build({ orders }) {
      orders.to(table('d.orders'))
      const sums = { orders: count(), revenue: sum<Order>((o) => o.amount) }
      orders
        .groupBy('customer')
        .window(tumbling(window))
        .aggregate('by-customer', sums)
        .to(table('d.customers'))
      orders.window(tumbling(window)).aggregate('in-all', sums).to(table('d.totals'))
    },
  })
}

export interface Servers {
  /** As KAFKA_BROKERS has them. */
  readonly brokers: string
  readonly redis: string
}

export interface StageOptions {
  /** Default 2. */
  readonly partitions?: number
  readonly pipeline?: Pipeline
  /** Of the workers' logs. */
  readonly kafka?: Partial<KafkaLogOptions>
  /** Default: a random one. */
  readonly application?: string
}

/** One application on the servers: what it was given, and who works on it. */
export class Stage {
  readonly servers: Servers
  readonly application: string
  plan: Plan
  /** As whoever sets things up and looks at them. */
  readonly log: Log
  readonly given: Order[] = []
  schemaIds: ReadonlyMap<string, number> = new Map()
  readonly #entries: RegistryEntry[] = []
  readonly #registry = new EmbeddedRegistry({
    load: () => Promise.resolve(this.#entries),
    append: async (entry) => void this.#entries.push(entry),
  })
  readonly #kafka: Partial<KafkaLogOptions>
  readonly #running = new Set<Running>()

  readonly #adminBrokers: string

  private constructor(servers: Servers, log: Log, admin: string, options: StageOptions) {
    this.servers = servers
    this.#adminBrokers = admin
    this.log = log
    this.application = options.application ?? `misuse-${randomBytes(4).toString('hex')}`
    this.plan = this.planned(options)
    // Who ends by an error says no word to its group; a broker may not have heard yet of a topic that has grown.
    this.#kafka = { sessionTimeoutMs: 1_500, metadataMaxAgeMs: 500, ...options.kafka }
  }

  /** @param admin where whoever sets up is let in, if not where the workers are */
  static async open(servers: Servers, options: StageOptions = {}, admin = servers.brokers): Promise<Stage> {
    return new Stage(servers, await openKafkaLog({ brokers: admin.split(',') }), admin, options)
  }

  planned({ partitions = 2, pipeline = pipelineOf() }: StageOptions): Plan {
    return planPipeline(pipeline, { partitions, application: this.application })
  }

  get groupId(): string {
    return `${this.application}.process`
  }

  topic(node: string): string {
    return `${this.application}.${node}`
  }

  /** Checks and makes the topics, as every role does at its start. */
  async setUp(plan = this.plan): Promise<void> {
    this.schemaIds = await setUp(this.log, this.#registry, plan)
  }

  /** Starts a worker as `millrace process` does: set-up, log, state, then rounds. @throws what refused it */
  async start(
    plan = this.plan,
    kafka: Partial<KafkaLogOptions> = {},
    options: Partial<WorkerOptions> = {},
  ): Promise<Running> {
    const { brokers } = this.servers
    const reports: string[] = []
    const report = (message: string): void => void reports.push(message)
    const log = await openKafkaLog({ brokers: brokers.split(','), report, ...this.#kafka, ...kafka })
    try {
      this.schemaIds = await setUp(log, this.#registry, plan)
      const state = await this.openState(report)
      const worker = new Worker({
        log,
        state,
        plan,
        schemaIds: this.schemaIds,
        commitIntervalMs: 50,
        report,
        ...options,
        events: { reopening: ({ code, message }) => reports.push(`${code}: ${message}`) },
      })
      const running = new Running(worker, reports, async () => {
        await state.close()
        await log.close()
      })
      this.#running.add(running)
      return running
    } catch (error) {
      await log.close()
      throw error
    }
  }

  openState(report: (message: string) => void = () => undefined): Promise<RedisState> {
    const url = this.servers.redis
    return RedisState.open({
      url,
      application: this.application,
      clock: systemClock,
      timeoutMs: 10_000,
      report,
    })
  }

  /** What ends a start, or what ends the worker after it. Neither: fails. */
  async refusal(plan = this.plan): Promise<Error> {
    try {
      const running = await this.start(plan)
      const failure = await Promise.race([running.ended, sleep(PATIENCE_MS, null)])
      this.#running.delete(running)
      await running.stop()
      assert.ok(failure instanceof Error, 'nothing refused it')
      return failure
    } catch (error) {
      if (!(error instanceof Error)) throw error
      return error
    }
  }

  /** Gives the source more orders, each seven seconds after the one before, with the heartbeat behind them. */
  async send(howMany: number, customers: readonly string[] = CUSTOMERS): Promise<void> {
    const orders = Array.from({ length: howMany }, (_, i) => {
      const number = this.given.length + i
      return orderAt(number, customers[number % customers.length]!)
    })
    this.given.push(...orders)
    await this.write(orders, [this.#heartbeat()])
  }

  /** Gives the source all again that it was given, as a bridge would to a topic that was made anew. */
  async sendAgain(): Promise<void> {
    await this.write(this.given, [this.#heartbeat()])
  }

  /** Puts orders, then marks, into the source as it is now. */
  async write(orders: readonly Order[], marks: readonly Mark[] = []): Promise<void> {
    const topic = this.topic('orders')
    const [description] = await this.log.admin.describeTopics([topic])
    const builders = Array.from({ length: description!.partitions }, (_, p) => new BatchBuilder(topic, p))
    const schemaId = this.schemaIds.get(`${topic}-value`)!
    for (const each of orders) {
      const key = Buffer.from(each.customer)
      const builder = builders[partitionFor(key, builders.length)]!
      builder.beginKey()
      builder.writer.bytes(key)
      builder.beginValue()
      writeHeader(builder.writer, schemaId)
      order.encodeSource(builder.writer, each, each.happened, null)
      builder.end()
    }
    for (const mark of marks) {
      for (const builder of builders) builder.append(null, encodeMark(mark), MARK_HEADERS)
    }
    await this.produce(builders.filter(({ count }) => count > 0))
  }

  async produce(batches: readonly ProduceBatch[]): Promise<number[]> {
    const producer = this.log.idempotentProducer()
    try {
      return await producer.send(batches)
    } finally {
      await producer.close()
    }
  }

  #heartbeat(): Mark {
    const t = Math.max(...this.given.map(({ happened }) => happened)) - order.disorderMs
    return { kind: 'heartbeat', writer: 'orders', t }
  }

  /** Waits until all that there is has been processed by somebody. */
  async processed(): Promise<void> {
    const inputs = inputPartitions(this.plan)
    await until(async () => {
      for (const { failure, reports, isStopped } of this.#running) {
        if (failure !== null && !isStopped)
          throw new Error(`The worker has ended: ${reports.join('\n')}`, { cause: failure })
      }
      return isDrained(this.log, this.groupId, inputs)
    }, 'all is processed')
  }

  /** Puts the end mark behind all that was given. */
  async end(): Promise<void> {
    await this.write([], [{ kind: 'end', e: Math.max(...this.given.map(({ happened }) => happened)) }])
  }

  /** Ends the input, and compares all that was written with what the given orders come to. */
  async assertUndisturbed(plan = this.plan): Promise<void> {
    await this.end()
    const before = this.plan
    this.plan = plan
    await this.processed()
    const orders = await this.rows(
      'd.orders',
      (row) => `${String(row['customer'])} ${String(row['id'])} ${String(row['amount'])}`,
    )
    assert.deepEqual(
      orders,
      this.given.map(({ customer, id, amount }) => `${customer} ${id} ${amount}`).sort(),
    )
    const text = (row: Record<string, unknown>): string =>
      [row['customer'] ?? 'all', row['window_start'], row['orders'], row['revenue']].join(' ')
    assert.deepEqual(
      await this.rows('d.customers', text),
      sumsOf(this.given, ({ customer }) => customer),
    )
    assert.deepEqual(
      await this.rows('d.totals', text),
      sumsOf(this.given, () => 'all'),
    )
    this.plan = before
  }

  async rows(destination: string, text: (row: Record<string, unknown>) => string): Promise<string[]> {
    const { topic, node } = this.plan.sinks.find((sink) => sink.node.name === destination)!
    return (await this.#read(topic, node.schema)).map(text).sort()
  }

  async deadLetters(): Promise<DeadLetter[]> {
    return (await this.#read(this.plan.deadLetterTopic, deadLetterSchema as AnySchema)) as never
  }

  async #read(topic: string, schema: AnySchema): Promise<Record<string, unknown>[]> {
    const rows: Record<string, unknown>[] = []
    const [description] = await this.log.admin.describeTopics([topic])
    for (let partition = 0; partition < description!.partitions; partition++) {
      await this.forEach(topic, partition, (_, value, isMark) => {
        if (value === null || isMark) return
        rows.push(schema.decode(value, HEADER_BYTES, value.length) as Record<string, unknown>)
      })
    }
    return rows
  }

  async forEach(
    topic: string,
    partition: number,
    take: (key: Buffer | null, value: Buffer | null, isMark: boolean, offset: number) => void,
  ): Promise<void> {
    const [range] = await this.log.admin.offsets([{ topic, partition }])
    const reader = this.log.partitionReader({ topic, partition }, range!.start)
    while (reader.position < range!.stable) {
      const batch = await reader.read(READ_BYTES)
      if (batch === null) continue
      for (let i = 0; i < batch.count; i++) {
        const isMark = batch.headerAt(i, MARK_HEADER) !== undefined
        take(batch.keyAt(i), batch.valueAt(i), isMark, batch.offsetAt(i))
      }
    }
    await reader.close()
  }

  /** As {@link refusal}, and asserts what is said. */
  async assertRefused(code: string, ...says: readonly RegExp[]): Promise<void> {
    // Kafka answers who sets an ACL before its brokers have heard of it.
    const deadlineMs = Date.now() + HEARD_MS
    for (;;) {
      const refusal = await this.refusal()
      try {
        assertSays(refusal, code, ...says)
        return
      } catch (error) {
        if (Date.now() > deadlineMs) throw error
      }
    }
  }

  /** A worker that has processed all there is, as soon as the brokers have heard of what it was refused for. */
  async startWhenHeard(code: string): Promise<Running> {
    const deadlineMs = Date.now() + HEARD_MS
    for (;;) {
      let running: Running | null = null
      try {
        running = await this.start()
        await this.processed()
        return running
      } catch (error) {
        const refused = running?.failure ?? error
        if ((refused as { code?: unknown }).code !== code || Date.now() > deadlineMs) throw error
        if (running !== null) this.#running.delete(running)
        await running?.stop()
      }
    }
  }

  /** Replays by hand: everything that was made from the input goes, the input stays. */
  async startOver(): Promise<void> {
    const made = (await this.log.admin.listTopics()).filter(
      (name) => name.startsWith(`${this.application}.`) && name !== this.topic('orders'),
    )
    for (const name of made) await this.log.admin.deleteTopic(name)
    await this.deleteGroup()
  }

  /** As soon as its last member is gone. */
  deleteGroup(): Promise<void> {
    return this.#admin((admin) =>
      until(
        () =>
          admin.deleteGroups([this.groupId]).then(
            () => true,
            () => false,
          ),
        'the group can be deleted',
      ),
    )
  }

  /** Removes what Redis has of the application. */
  async loseState(): Promise<void> {
    const redis = new Redis(this.servers.redis)
    const keys = await redis.keys(`*${this.application}*`)
    if (keys.length > 0) await redis.unlink(...keys)
    redis.disconnect()
  }

  addPartitions(topic: string, count: number): Promise<void> {
    return this.#admin(
      async (admin) => void (await admin.createPartitions({ topicPartitions: [{ topic, count }] })),
    )
  }

  /** Sets settings of a topic; the others stay. */
  async setTopic(name: string, set: Readonly<Record<string, string>>): Promise<void> {
    const inspector = await TopicInspector.connect({
      brokers: this.#adminBrokers.split(','),
      ssl: null,
      sasl: null,
    })
    await inspector.change([{ name, set }])
    inspector.close()
  }

  async #admin(action: (admin: Admin) => Promise<void>): Promise<void> {
    const admin = plainKafkajs(this.#adminBrokers).admin()
    await admin.connect()
    try {
      await action(admin)
    } finally {
      await admin.disconnect()
    }
  }

  async close(): Promise<void> {
    for (const running of this.#running) await running.stop()
    await this.log.close()
  }
}

/** A worker on its way. */
export class Running {
  readonly worker: Worker
  /** What a person is told. */
  readonly reports: readonly string[]
  /** What ended it; null where it was stopped. */
  readonly ended: Promise<Error | null>
  failure: Error | null = null
  isStopped = false
  readonly #stopping = new AbortController()
  readonly #close: () => Promise<void>
  #isClosed = false

  constructor(worker: Worker, reports: readonly string[], close: () => Promise<void>) {
    this.worker = worker
    this.reports = reports
    this.#close = close
    this.ended = worker.run(this.#stopping.signal).then(
      () => null,
      (error: unknown) => (this.failure = error as Error),
    )
  }

  /** Resolves when it has said something like this. */
  async said(pattern: RegExp): Promise<string> {
    await until(() => {
      if (this.failure !== null) throw this.failure
      return this.reports.some((report) => pattern.test(report))
    }, `it says ${pattern.source}`)
    return this.reports.find((report) => pattern.test(report))!
  }

  /** Commits and leaves. A failure that ended it before is kept. */
  async stop(): Promise<void> {
    this.isStopped = true
    this.#stopping.abort()
    await this.ended
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#close()
  }
}

/** An error has its code, and says what happened, to what, and what to do. */
export function assertSays(error: Error | null, code: string, ...says: readonly RegExp[]): void {
  assert.equal((error as { code?: unknown } | null)?.code, code, String(error?.stack))
  for (const pattern of says) assert.match(error!.message, pattern)
}

/** Windows without an order are none. Amounts are quarters, so that any order of adding them is exact. */
function sumsOf(orders: readonly Order[], keyOf: (order: Order) => string): string[] {
  const sums = new Map<string, { orders: number; revenue: number }>()
  for (const each of orders) {
    const key = `${keyOf(each)} ${Math.floor(each.happened / MINUTE) * MINUTE}`
    const total = sums.get(key) ?? { orders: 0, revenue: 0 }
    sums.set(key, { orders: total.orders + 1, revenue: total.revenue + each.amount })
  }
  return [...sums].map(([key, total]) => `${key} ${total.orders} ${total.revenue}`).sort()
}
