import assert from 'node:assert/strict'
import { join } from 'node:path'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { partitionFor } from '../../log/partitioner.ts'
import type { DriverOptions, PipelineDriver } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import type { Stream } from '../../processor/topology/stream.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table, topic } from '../../schemas/destinations.ts'
import { bytes, double, long, schema, string, timestamp } from '../../schemas/schema.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { openWarehouse } from '../../sinks/local/warehouse.ts'
import { SinkRunner } from '../../sinks/runner.ts'
import { readFile, removeDirectory, temporaryDirectory } from '../sinks/local/support.ts'
import { modelOf, type GivenOrder } from './orders-model.ts'
import { follow, schedules } from './schedule.ts'
import { finish, openDriver, START } from './support.ts'

const TIMING = { sizeMs: 10_000, graceMs: 5_000, disorderMs: 20_000 }

const event = contract(
  'Event',
  { order_id: string(), status: string(), amount: double(), timestamp: timestamp() },
  { id: ['order_id', 'status'], key: 'order_id', eventTime: 'timestamp', disorder: TIMING.disorderMs },
)
interface Event {
  readonly order_id: string
  readonly status: string
  readonly amount: number
  readonly timestamp: number
}

const EMIT = { emit: 'updates' } as const
const totals = { records: count(), total: sum((e: Event) => e.amount) }
const windows = (emptyWindows = false): ReturnType<typeof tumbling> =>
  tumbling(TIMING.sizeMs, { grace: TIMING.graceMs, emptyWindows })

function pipelineOf(build: (events: Stream<Event>) => void): Pipeline {
  return definePipeline({
    name: 'updating',
    sources: { events: source('events', event) },
    build: ({ events }) => build(events),
  })
}

/** The same aggregates as updates and as final rows, with groups and without. */
const both = pipelineOf((events) => {
  const byStatus = events.groupBy('status').window(windows())
  byStatus.aggregate('by-status', totals, EMIT).to(table('d.by_status'))
  byStatus.aggregate('by-status-final', totals).to(table('d.by_status_final'))
  events.window(windows()).aggregate('overall', totals, EMIT).to(table('d.overall'))
  events.window(windows()).aggregate('overall-final', totals).to(table('d.overall_final'))
})

interface Row {
  readonly status?: string
  readonly window_start: number
  readonly records: number
  readonly total: number
}

const identityOf = ({ status, window_start }: Row): string => `${status ?? ''}@${window_start - START}`

/** What a table holds whose rows replace each other. */
function latest(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [identityOf(row), row]))
}

let number = 0
function at(ms: number, fields: Partial<Event> = {}): Event {
  return { order_id: `e-${++number}`, status: 'new', amount: 1, timestamp: START + ms, ...fields }
}

describe('an aggregate that emits updates', () => {
  let driver: PipelineDriver

  async function open(pipeline: Pipeline, options: DriverOptions = {}): Promise<void> {
    driver = await openDriver(pipeline, { partitions: 2, ...options })
  }

  const rowsOf = async (name: string): Promise<Row[]> => (await driver.rows(name)) as unknown as Row[]

  const through = async (...events: Event[]): Promise<void> => {
    await driver.send('events', events)
    await driver.settle()
  }

  afterEach(() => driver.close())

  it('gives a row with the values so far with each commit, one however many records came', async () => {
    await open(both)
    await through(at(0), at(1_000, { amount: 2 }), at(2_000, { amount: 4 }))
    await through(at(3_000, { amount: 8 }))
    for (const name of ['d.by_status', 'd.overall']) {
      assert.deepEqual(
        (await rowsOf(name)).map(({ records, total }) => [records, total]),
        [
          [3, 7],
          [4, 15],
        ],
        name,
      )
    }
    assert.deepEqual(await rowsOf('d.by_status_final'), [])
  })

  it('gives no row for a window that nothing has touched, and none more when it closes', async () => {
    await open(both)
    await through(at(0))
    await through(at(12_000))
    await finish(driver)
    for (const name of ['d.by_status', 'd.overall']) {
      assert.deepEqual(
        (await rowsOf(name)).map(({ window_start, records }) => [window_start - START, records]),
        [
          [0, 1],
          [10_000, 1],
        ],
        name,
      )
    }
    assert.equal((await rowsOf('d.overall_final')).length, 2)
  })

  it('gives the row of a window whose records and end come with one commit', async () => {
    await open(both)
    await driver.send('events', [at(0), at(1_000)])
    await finish(driver)
    assert.deepEqual([...latest(await rowsOf('d.by_status')).values()], await rowsOf('d.by_status_final'))
    assert.deepEqual([...latest(await rowsOf('d.overall')).values()], await rowsOf('d.overall_final'))
  })

  it('gives empty windows when they close', async () => {
    await open(
      pipelineOf((events) => {
        events.window(windows(true)).aggregate('overall', totals, EMIT).to(table('d.overall'))
      }),
    )
    await through(at(0), at(31_000))
    await finish(driver)
    assert.deepEqual(
      [...latest(await rowsOf('d.overall')).values()]
        .map(({ window_start, records }) => [window_start - START, records])
        .sort(([a], [b]) => a! - b!),
      [
        [0, 1],
        [10_000, 0],
        [20_000, 0],
        [30_000, 1],
      ],
    )
  })

  it('goes through map, filter, flatMap and stamp to topics and tables', async () => {
    const line = schema('Line', { status: string(), window_start: timestamp(), records: long() })
    await open(
      pipelineOf((events) => {
        const updates = events.groupBy('status').window(windows()).aggregate('by-status', totals, EMIT)
        updates.stamp('seen_at').to(table('d.stamped'))
        updates
          .filter(({ records }) => records > 1)
          .map(({ status, window_start, records }) => ({ status, window_start, records }), { as: line })
          .to(table('d.lines', { key: ['status', 'window_start'] }))
        updates.flatMap((row) => [row, row], { as: line }).to(topic('twice'))
      }),
    )
    await through(at(0))
    await through(at(1))
    assert.equal((await driver.rows('d.stamped')).length, 2)
    assert.deepEqual(
      (await rowsOf('d.lines')).map(({ records }) => records),
      [2],
    )
    assert.deepEqual(
      (await rowsOf('twice')).map(({ records }) => records),
      [1, 1, 2, 2],
    )
  })

  it('gives rows that are for whoever keeps them, whatever the window takes in later', async () => {
    const kept: Uint8Array[] = []
    const keyed = schema('Keyed', { blob: bytes() })
    const perWindow = 50
    await open(
      pipelineOf((events) => {
        events
          .map((e) => ({ blob: Buffer.from(e.order_id) }), { as: keyed })
          .groupBy('blob')
          .window(windows())
          .aggregate('by-blob', { records: count() }, EMIT)
          .peek(({ blob }) => kept.push(blob))
          .to(table('d.by_blob'))
      }),
      { partitions: 1 },
    )
    const events = Array.from({ length: 4 * perWindow }, () => at(0))
    for (let from = 0; from < events.length; from += perWindow) {
      await through(...events.slice(from, from + perWindow))
    }
    assert.deepEqual(
      kept.map((blob) => Buffer.from(blob).toString()).sort(),
      events.map(({ order_id }) => order_id).sort(),
    )
  })

  it('fills a table with the last row of each group and window, however often its sink starts anew', async () => {
    await open(both)
    const directory = temporaryDirectory()
    const path = join(directory, 'warehouse.duckdb')
    const registry = new EmbeddedRegistry({
      load: () => Promise.resolve([]),
      append: () => Promise.resolve(),
    })
    for (const { subject, schema: type } of driver.plan.subjects)
      await registry.register(subject, type.avroText)
    const { topic: from, table: definition } = driver.plan.sinks.find(
      ({ node }) => node.name === 'd.by_status',
    )!
    for (let round = 0; round < 3; round++) {
      await through(at(round * 1_000, { status: 'new' }), at(round * 1_000, { status: 'paid' }))
      await through(at(10_000 + round, { status: 'new' }))
      const warehouse = await openWarehouse({ path })
      const sink = warehouse.sink(definition)
      const runner = new SinkRunner({
        log: driver.log,
        registry,
        sink,
        application: driver.plan.application,
        pipeline: 'updating',
        topic: from,
        instance: 'one',
        maxDelayMs: 1,
        report: () => undefined,
      })
      const running = runner.run()
      const partitions = [0, 1].map((partition) => ({ topic: from, partition }))
      const ends = await driver.log.admin.offsets(partitions)
      await runner.whenDurable(ends.map(({ stable }, partition) => ({ partition, offset: stable })))
      runner.stop()
      await running
      await warehouse.close()
    }
    const found = await readFile(path, 'SELECT status, window_start, records, total FROM d.by_status')
    removeDirectory(directory)
    const expected = [...latest(await rowsOf('d.by_status')).values()].map(
      ({ status, window_start, records, total }) => ({ status, window_start, records, total }),
    )
    assert.equal(found.length, 3)
    assert.deepEqual(sorted(found as unknown as Row[]), sorted(expected as Row[]))
  })

  it('takes one more update after a crash, and no window again', async () => {
    await open(both)
    await through(at(0))
    driver.kill()
    driver.state.flush()
    await through(at(1_000))
    assert.deepEqual(
      (await rowsOf('d.overall')).map(({ records }) => records),
      [1, 2],
    )
  })

  it('gives the final rows of any schedule with its last updates, and on the way what was read so far', async function () {
    this.timeout(300_000)
    const given = fc.record({
      atMs: fc.integer({ min: 0, max: 60_000 }),
      status: fc.constantFrom('new', 'paid', 'sent'),
    })
    await fc.assert(
      fc.asyncProperty(
        // Amounts are powers of two: a sum says which records are in it.
        fc.array(fc.array(given, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 6 }),
        schedules,
        fc.constantFrom(1, 2, 5),
        fc.constantFrom(1, 2),
        fc.constantFrom(1, 3, 1_000),
        fc.constantFrom(0, 64 * 1024 * 1024),
        async (parts, schedule, partitions, processes, commitRecords, cacheBytes) => {
          await open(both, {
            partitions,
            processes,
            worker: { commitRecords, cacheBytes, fetchBytes: 300, commitIntervalMs: 0 },
          })
          const sent: Event[] = []
          for (const part of parts) {
            const events = part.map(({ atMs, status }, i) =>
              at(atMs, { status, amount: 2 ** (sent.length + i) }),
            )
            sent.push(...events)
            await driver.send('events', events)
            await follow(schedule, driver, sent.length % processes)
          }
          await finish(driver)
          const counted = countedOf(sent, partitions)
          checkUpdates(await rowsOf('d.by_status'), await rowsOf('d.by_status_final'), counted)
          checkUpdates(await rowsOf('d.overall'), await rowsOf('d.overall_final'), counted)
          const { windows: expected } = modelOf([sent as unknown as GivenOrder[]], TIMING)
          assert.deepEqual(
            [...latest(await rowsOf('d.overall')).values()]
              .map(({ window_start, records, total }) => [window_start, records, total])
              .sort(([a], [b]) => a! - b!),
            expected
              .filter(({ order_count }) => order_count > 0)
              .map((row) => [row.window_start, row.order_count, row.total_revenue]),
          )
          await driver.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
    await open(both)
  })
})

function sorted(rows: Iterable<Row>): Row[] {
  return [...rows].sort((a, b) => identityOf(a).localeCompare(identityOf(b)))
}

interface Counted {
  readonly event: Event
  readonly partition: number
}

/** The records that are in time, in the order sent. */
function countedOf(sent: readonly Event[], partitions: number): Counted[] {
  const late = new Set(modelOf([sent as unknown as GivenOrder[]], TIMING).late)
  return sent
    .filter(({ order_id, status }) => !late.has(`${order_id}/${status}`))
    .map((event) => ({ event, partition: partitionFor(Buffer.from(event.order_id), partitions) }))
}

/** Each update holds a prefix of what each partition had for it, and no less than the one before. */
function checkUpdates(updates: readonly Row[], finals: readonly Row[], counted: readonly Counted[]): void {
  const before = new Map<string, Set<Event>>()
  for (const row of updates) {
    const own = counted.filter(
      ({ event }) =>
        Math.floor(event.timestamp / TIMING.sizeMs) * TIMING.sizeMs === row.window_start &&
        (row.status === undefined || row.status === event.status),
    )
    const included = own.filter(({ event }) => (BigInt(row.total) / BigInt(event.amount)) % 2n === 1n)
    assert.equal(included.length, row.records)
    assert.equal(
      included.reduce((total, { event }) => total + event.amount, 0),
      row.total,
    )
    for (const { partition } of included) {
      const all = own.filter((candidate) => candidate.partition === partition)
      const those = included.filter((candidate) => candidate.partition === partition)
      assert.deepEqual(those, all.slice(0, those.length), 'what a partition gave, from its beginning')
    }
    const events = new Set(included.map(({ event }) => event))
    assert.ok((before.get(identityOf(row)) ?? new Set()).isSubsetOf(events), 'nothing is taken back')
    before.set(identityOf(row), events)
  }
  assert.deepEqual(sorted(latest(updates).values()), sorted(finals))
}
