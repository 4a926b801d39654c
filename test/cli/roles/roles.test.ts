import assert from 'node:assert/strict'
import { once } from 'node:events'
import { runRoles, type Roles, type SinkRole, type SourcesOutcome } from '../../../cli/roles/roles.ts'
import { isDrained } from '../../../cli/roles/drain.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import { createMemoryLog } from '../../../log/embedded/embedded-log.ts'
import type { Log, TopicPartition } from '../../../log/port.ts'
import type { Plan } from '../../../processor/topology/plan.ts'

const INPUT: TopicPartition = { topic: 'in', partition: 0 }
const OUTPUT: TopicPartition = { topic: 'out', partition: 0 }
const GROUP = 'app.process'

describe('a run', () => {
  let log: Log
  let events: string[]

  beforeEach(async () => {
    log = await createMemoryLog()
    events = []
    await log.admin.createTopics([
      { name: 'in', partitions: 1, cleanup: 'delete', retentionMs: -1 },
      { name: 'out', partitions: 1, cleanup: 'delete', retentionMs: -1 },
    ])
  })
  afterEach(() => log.close())

  it('of a finite input ends in the order of the data: sources, worker, sinks', async () => {
    assert.equal(await runRoles(roles(), new AbortController().signal), 'drained')
    assert.deepEqual(events, [
      'sources ended',
      'worker stopped',
      'out durable below 2',
      'out flushed',
      'sink stopped',
    ])
  })

  it('that is stopped ends all roles, and does not claim to be done', async () => {
    const stop = new AbortController()
    const running = runRoles(roles({ outcome: 'stopped' }), stop.signal)
    stop.abort()
    assert.equal(await running, 'stopped')
    assert.deepEqual(events.sort(), ['sink stopped', 'sources stopped', 'worker stopped'])
  })

  it('that is stopped while the sinks still write does not wait for them', async () => {
    const stop = new AbortController()
    const whenDurable = (): Promise<void> => {
      stop.abort()
      return new Promise(() => {})
    }
    assert.equal(await runRoles(roles({ whenDurable }), stop.signal), 'stopped')
  })

  for (const failing of ['sources', 'worker', 'sink'] as const) {
    it(`in which the ${failing} fail ends the others cleanly and says why`, async () => {
      const error = new Error(`${failing} failed`)
      await assert.rejects(runRoles(roles({ failing, error }), new AbortController().signal), error)
      const others = ['sources', 'worker', 'sink'].filter((role) => role !== failing)
      for (const role of others)
        assert.ok(
          events.some((event) => event.startsWith(role)),
          `${role} ended`,
        )
    })
  }

  it('of a bridge alone is done when its input is in the log', async () => {
    const { worker: _worker, ...others } = roles()
    const bridge: Roles = { ...others, worker: null, sinks: [] }
    assert.equal(await runRoles(bridge, new AbortController().signal), 'drained')
    assert.deepEqual(events, ['sources ended'])
  })

  it('of a bridge alone is done too when another has taken over its sources', async () => {
    const bridge: Roles = { ...roles({ outcome: 'handed-over' }), worker: null, sinks: [] }
    assert.equal(await runRoles(bridge, new AbortController().signal), 'drained')
  })

  it('of a worker alone ends when what others bridged is processed', async () => {
    const worker: Roles = { ...roles(), sinks: [] }
    assert.equal(await runRoles(worker, new AbortController().signal), 'drained')
    assert.deepEqual(events, ['sources ended', 'worker stopped'])
  })

  it('of a sink alone waits for the workers of others, and then for what is written', async () => {
    let isProcessed = false
    const sink: Roles = {
      ...roles({
        whenDurable: async () => {
          assert.ok(isProcessed)
          events.push('out durable')
        },
      }),
      worker: null,
    }
    const running = runRoles(sink, new AbortController().signal)
    await copy()
    isProcessed = true
    assert.equal(await running, 'drained')
    assert.deepEqual(events, ['sources ended', 'out durable', 'out flushed', 'sink stopped'])
  })

  it('whose sources are handed over works on until the others have read them', async () => {
    const elsewhere = Promise.withResolvers<{ outcome: SourcesOutcome }>()
    const asked = Promise.withResolvers<void>()
    const running = runRoles(
      {
        ...roles({ outcome: 'handed-over' }),
        sourcesElsewhere: {
          run: () => {
            asked.resolve()
            return elsewhere.promise
          },
        },
      },
      new AbortController().signal,
    )
    await asked.promise
    assert.ok(!events.includes('worker stopped'))
    await copy()
    elsewhere.resolve({ outcome: 'ended' })
    assert.equal(await running, 'drained')
  })

  it('knows when all is processed, and that gaps are no work', async () => {
    assert.equal(await isDrained(log, GROUP, [INPUT]), true, 'an empty topic')
    await append(INPUT, 3)
    assert.equal(await isDrained(log, GROUP, [INPUT]), false)
    await process(3)
    assert.equal(await isDrained(log, GROUP, [INPUT]), true)
    const aborted = log.transactionalProducer({ transactionalId: 'aborted' })
    await aborted.init()
    aborted.begin()
    await aborted.send([batchOf(INPUT, 5)])
    assert.equal(await isDrained(log, GROUP, [INPUT]), false, 'its outcome is not known yet')
    await aborted.abort()
    assert.equal(await isDrained(log, GROUP, [INPUT]), true)
  })

  interface Behaviour {
    readonly outcome?: SourcesOutcome
    readonly failing?: 'sources' | 'worker' | 'sink'
    readonly error?: Error
    whenDurable?: SinkRole['whenDurable']
  }

  /** Roles whose sources write two records, whose worker copies them, and whose sink only says what it is asked. */
  function roles({ outcome = 'ended', failing, error, whenDurable }: Behaviour = {}): Roles {
    const failed = (role: string): void => {
      if (role === failing) throw error!
    }
    const sink: SinkRole = {
      topic: 'out',
      async run(signal) {
        failed('sink')
        await aborted(signal)
        events.push('sink stopped')
      },
      whenDurable:
        whenDurable ??
        (async ([place]) => {
          events.push(`out durable below ${place!.offset}`)
        }),
      flush: async () => {
        events.push('out flushed')
      },
    }
    return {
      log,
      groupId: GROUP,
      sourcesElsewhere: { run: () => Promise.reject(new Error('nobody asks for them here')) },
      plan: { subTopologies: [{ inputTopic: 'in', partitions: 1 }] } as unknown as Plan,
      sources: {
        async run(signal) {
          failed('sources')
          if (outcome === 'stopped' || failing !== undefined) {
            await aborted(signal)
            events.push('sources stopped')
            return { outcome: 'stopped' }
          }
          await append(INPUT, 2)
          events.push('sources ended')
          return { outcome }
        },
      },
      worker: {
        async run(signal) {
          failed('worker')
          if (outcome === 'ended' && failing === undefined) await copy()
          await aborted(signal)
          events.push('worker stopped')
        },
      },
      sinks: [sink],
    }
  }

  async function copy(): Promise<void> {
    const reader = log.partitionReader(INPUT, 0)
    while (reader.position < 2) await reader.read(1_000)
    await append(OUTPUT, 2)
    await process(2)
  }

  async function append(place: TopicPartition, count: number): Promise<void> {
    const producer = log.idempotentProducer()
    await producer.send([batchOf(place, count)])
    await producer.close()
  }

  /** Commits a position as the group would. */
  async function process(offset: number): Promise<void> {
    const assigned = Promise.withResolvers<void>()
    const consumer = log.groupConsumer({
      groupId: GROUP,
      topics: [['in']],
      onRevoke: () => Promise.resolve(),
      onAssign: async (_, group) => {
        await consumer.commitOffsets([{ ...INPUT, offset, metadata: '' }], group)
        assigned.resolve()
      },
    })
    await consumer.poll(1, 0)
    await assigned.promise
    await consumer.close()
  }
})

function batchOf({ topic, partition }: TopicPartition, count: number): BatchBuilder {
  const batch = new BatchBuilder(topic, partition)
  for (let i = 0; i < count; i++) batch.append(Buffer.from('k'), Buffer.from('v'))
  return batch
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}
