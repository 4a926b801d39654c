import assert from 'node:assert/strict'
import { compareTopics, type FoundTopic, type WantedTopic } from '../../../cli/provision/compare.ts'
import { planReport } from '../../../cli/provision/report.ts'
import { requiredTopics } from '../../../cli/provision/required-topics.ts'
import orders from '../../../pipelines/orders/index.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'

describe('the topics that a pipeline needs', () => {
  const required = (replicationFactor: number, registryTopic: string | null = null) =>
    requiredTopics(planPipeline(orders, { partitions: 4 }), { replicationFactor, registryTopic })

  it('are those of the plan, of the positions, of the topology, and of the schemas where no registry has them', () => {
    const names = required(1).map(({ name }) => name)
    for (const name of [
      'orders.order-events',
      'orders.orders-changelog',
      'orders.sources',
      'orders.topology',
    ]) {
      assert.ok(names.includes(name), name)
    }
    assert.equal(new Set(names).size, names.length)
    assert.deepEqual(
      required(1, 'schemas')
        .map(({ name }) => name)
        .filter((name) => !names.includes(name)),
      ['schemas'],
    )
  })

  it('wait for all copies but one where there are three, so that one broker may be away', () => {
    for (const { config } of required(3)) assert.equal(config.minInsyncReplicas, 2)
    for (const { config } of required(2)) assert.equal(config.minInsyncReplicas, undefined)
  })

  it('are internal where state is built from them, and only there are records deleted', () => {
    const topics = new Map(required(1).map((topic) => [topic.name, topic]))
    const of = (name: string): readonly [boolean, boolean] => {
      const { isInternal, deletes } = topics.get(`orders.${name}`)!
      return [isInternal, deletes]
    }
    assert.deepEqual(of('order-events'), [false, false])
    assert.deepEqual(of('order-alerts'), [false, false])
    assert.deepEqual(of('dead-letters'), [false, false])
    assert.deepEqual(of('orders-changelog'), [true, false])
    assert.deepEqual(of('orders-windows'), [true, true])
    assert.deepEqual(of('metrics-repartition'), [true, true])
  })
})

describe('a topic that is there', () => {
  const wanted = (over: Partial<WantedTopic> = {}): WantedTopic => ({
    name: 'a.t',
    config: {
      partitions: 4,
      cleanup: 'compact',
      retentionMs: -1,
      replicationFactor: 3,
      minInsyncReplicas: 2,
    },
    isInternal: true,
    deletes: false,
    settings: { 'cleanup.policy': 'compact', 'min.insync.replicas': '2' },
    ...over,
  })
  const found = (settings: Record<string, string>, own: readonly string[] = [], over = {}): FoundTopic => ({
    name: 'a.t',
    partitions: 4,
    replicationFactor: 3,
    settings: new Map(
      Object.entries(settings).map(([key, value]) => [key, { value, isOwn: own.includes(key) }]),
    ),
    ...over,
  })
  const AS_WANTED = { 'cleanup.policy': 'compact', 'min.insync.replicas': '2' }

  it('is left alone where it is as wanted, in whatever order its policies stand', () => {
    const topic = wanted({ settings: { 'cleanup.policy': 'compact,delete' } })
    const plan = compareTopics([topic], [found({ 'cleanup.policy': 'delete,compact' })])
    assert.deepEqual(plan, { create: [], change: [], partitions: [], copies: [], kept: [], fitting: 1 })
  })

  it('gets more copies in sync, but not where it has too few copies for that', () => {
    const differing = { ...AS_WANTED, 'min.insync.replicas': '1' }
    assert.deepEqual(compareTopics([wanted()], [found(differing)]).change, [
      { topic: 'a.t', settings: [{ setting: 'min.insync.replicas', from: '1', to: '2' }] },
    ])
    const { change, copies } = compareTopics([wanted()], [found(differing, [], { replicationFactor: 2 })])
    assert.deepEqual(change, [])
    assert.deepEqual(copies, [{ topic: 'a.t', found: 2, wanted: 3 }])
  })

  it('keeps what somebody set on it where no state depends on that', () => {
    const topic = wanted({ settings: { 'retention.ms': '-1' }, isInternal: false })
    const week = found({ 'retention.ms': '604800000' }, ['retention.ms'])
    assert.deepEqual(compareTopics([topic], [week]).kept, [
      'a.t: retention.ms is 604800000, as somebody set it (else -1).',
    ])
    const inherited = found({ 'retention.ms': '604800000' })
    assert.equal(compareTopics([topic], [inherited]).change.length, 1)
    assert.equal(compareTopics([{ ...topic, isInternal: true }], [week]).change.length, 1)
  })

  it('may take larger records than are wanted, but not smaller ones', () => {
    const topic = wanted({ settings: { 'max.message.bytes': '1000' } })
    assert.equal(
      compareTopics([topic], [found({ 'max.message.bytes': '2000' }, ['max.message.bytes'])]).fitting,
      1,
    )
    assert.equal(
      compareTopics([topic], [found({ 'max.message.bytes': '500' }, ['max.message.bytes'])]).change.length,
      1,
    )
  })

  it('keeps its number of partitions, whichever was asked for', () => {
    for (const partitions of [3, 5]) {
      const plan = compareTopics([wanted()], [found(AS_WANTED, [], { partitions })])
      assert.equal(plan.fitting, 0)
      assert.deepEqual(plan.change, [])
      assert.deepEqual(plan.partitions, [{ topic: 'a.t', found: partitions, wanted: 4 }])
      assert.match(
        planReport(plan),
        new RegExp(`✗ 1 topic has .*a\\.t: ${partitions}, not 4.*--partitions ${partitions}`),
      )
    }
  })

  it('stands in the report with its whole name', () => {
    const name = `a.${'long'.repeat(20)}`
    const plan = compareTopics([wanted({ name })], [null])
    assert.equal(planReport(plan), `  + create  ${name}  4 partitions, 3 copies, 2 in sync, compact\n`)
  })
})
