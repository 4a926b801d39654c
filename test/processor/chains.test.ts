import assert from 'node:assert/strict'
import type { PipelineDriver } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import type { Stream } from '../../processor/topology/stream.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table } from '../../schemas/destinations.ts'
import { double, schema, string, timestamp } from '../../schemas/schema.ts'
import { finish, openDriver, START } from './support.ts'

const event = contract(
  'Event',
  { id: string(), country: string(), amount: double(), happened: timestamp() },
  { id: ['id'], key: 'id', eventTime: 'happened', disorder: 0 },
)
interface Event {
  id: string
  country: string
  amount: number
  happened: number
}
const value = schema('Value', { x: double() })
const name = schema('Name', { name: string() })

function pipelineOf(build: (events: Stream<Event>) => void): Pipeline {
  return definePipeline({
    name: 'chain',
    sources: { events: source('events', event) },
    build: ({ events }) => build(events),
  })
}

let number = 0
function at(ms: number, fields: Partial<Event> = {}): Event {
  return { id: `e-${++number}`, country: 'Norway', amount: 1, happened: START + ms, ...fields }
}

describe('operators behind operators', () => {
  let driver: PipelineDriver

  async function open(pipeline: Pipeline, cacheBytes?: number): Promise<void> {
    driver = await openDriver(pipeline, {
      partitions: 1,
      worker: { commitRecords: 1, commitIntervalMs: 0, ...(cacheBytes === undefined ? {} : { cacheBytes }) },
    })
  }

  /** Sends each part, with the process killed between them. */
  async function through(...parts: Event[][]): Promise<void> {
    for (const part of parts) {
      await driver.send('events', part)
      await driver.settle()
      driver.kill()
    }
    await finish(driver)
  }

  afterEach(() => driver.close())

  it('keep the windows over the results of windows through a restart', async () => {
    await open(
      pipelineOf((events) => {
        events
          .window(tumbling('1s'))
          .aggregate('small', { n: count() })
          .map(({ n }) => ({ x: n }), { as: value })
          .window(tumbling('1h'))
          .aggregate('large', { windows: count(), records: sum(({ x }) => x) })
          .to(table('d.large'))
      }),
      0,
    )
    await through([at(0), at(5_000), at(10_000), at(15_000)], [at(20_000), at(25_000)])
    const [row] = await driver.rows('d.large')
    assert.deepEqual([row!['windows'], row!['records']], [6, 6])
  })

  it('keep the windows over late records through a restart', async () => {
    await open(
      pipelineOf((events) => {
        const small = events.window(tumbling('1s')).aggregate('small', { n: count() })
        small.to(table('d.small'))
        small.late
          .map(({ amount }) => ({ x: amount }), { as: value })
          .window(tumbling('1h'))
          .aggregate('late-hours', { records: count() })
          .to(table('d.late_hours'))
      }),
    )
    await through([at(0), at(100_000), at(1_000), at(1_000)], [at(120_000), at(1_000)])
    const [row] = await driver.rows('d.late_hours')
    assert.equal(row!['records'], 3)
  })

  it('drop repeated results of windows', async () => {
    await open(
      pipelineOf((events) => {
        events
          .window(tumbling('1s'))
          .aggregate('small', { n: count() })
          .map(() => ({ name: 'high' }), { as: name })
          .dedupe('once', { id: ['name'] })
          .to(table('d.names'))
      }),
    )
    await through([at(0)], [at(10_000)], [at(20_000)])
    assert.equal((await driver.rows('d.names')).length, 1)
  })

  it('group by columns, whatever partitions the records came from', async () => {
    await open(
      pipelineOf((events) => {
        events
          .groupBy('country')
          .window(tumbling('1m'))
          .aggregate('by-country', { records: count(), total: sum(({ amount }) => amount) })
          .to(table('d.by_country', { clusterBy: ['country'] }))
      }),
      0,
    )
    await through(
      [at(0), at(1_000, { country: 'Chile', amount: 5 }), at(2_000)],
      [at(3_000), at(90_000, { country: 'Chile' })],
    )
    const rows = await driver.rows('d.by_country')
    assert.deepEqual(
      rows.map(({ country, window_start, records, total }) => [country, window_start, records, total]),
      [
        ['Chile', START, 1, 5],
        ['Norway', START, 3, 3],
        ['Chile', START + 60_000, 1, 1],
      ],
    )
  })

  it('send a record whose function throws to dead letters, and only that one', async () => {
    await open(
      pipelineOf((events) => {
        events
          .map(
            ({ amount }) => {
              if (amount === 13) throw new RangeError('unlucky')
              return { x: amount }
            },
            { as: value },
          )
          .to(table('d.values'))
      }),
    )
    await through([at(0), at(1_000, { amount: 13 }), at(2_000)])
    assert.equal((await driver.rows('d.values')).length, 2)
    const letters = await driver.deadLetters()
    assert.deepEqual(
      letters.map(({ reason, source: topic }) => [reason, topic]),
      [['map-1: unlucky', 'chain.events']],
    )
  })
})
