import { BatchBuilder } from '../../log/batch.ts'
import type { Log, TopicDescription } from '../../log/port.ts'
import { readUntil } from '../../log/read-until.ts'
import type { SchemaRegistry } from '../../schemas/registry.ts'
import { checkCompatible } from '../topology/compatible.ts'
import { describeTopology, type TopologyDescription } from '../topology/diff.ts'
import type { Plan } from '../topology/plan.ts'
import { partitionsChanged } from './errors.ts'

const TOPOLOGY_KEY = Buffer.from('topology')

/**
 * Makes ready what a pipeline needs in the log, or refuses: its topology must fit the state that is
 * there, its topics must have the planned partitions. Nothing is written before all is checked.
 * @param report told what has changed since the state was written, where it still fits
 * @returns the schema ids by subject
 * @throws TopologyError INCOMPATIBLE_TOPOLOGY, ProcessorError PARTITIONS_CHANGED
 */
export async function setUp(
  log: Log,
  registry: SchemaRegistry,
  plan: Plan,
  report: (message: string) => void = () => undefined,
): Promise<Map<string, number>> {
  const topologyTopic = `${plan.application}.topology`
  const topics = [
    ...plan.topics,
    { name: topologyTopic, partitions: 1, cleanup: 'compact' as const, retentionMs: -1 },
  ]
  const found = await log.admin.describeTopics(topics.map(({ name }) => name))
  const written = found.at(-1) === null ? null : await readTopology(log, topologyTopic)
  let current = describeTopology(plan)
  // First: where a topic has changed, the number that it is asked for with may be the changed one.
  checkPartitions(plan, found, written)
  if (written !== null) {
    const { notes, retired } = checkCompatible(written, current, plan.pipeline.graph.retired)
    current = { ...current, retired }
    if (notes.length > 0) report(`The topology has changed, and its state fits: ${notes.join('; ')}.`)
  }

  // Who only works on topics that others have made needs no right to make some.
  await log.admin.createTopics(topics.filter((_, i) => found[i] === null))
  const schemaIds = new Map<string, number>()
  for (const { subject, schema } of plan.subjects) {
    schemaIds.set(subject, await registry.register(subject, schema.avroText))
  }
  if (JSON.stringify(written) !== JSON.stringify(current)) await writeTopology(log, topologyTopic, current)
  return schemaIds
}

/** @param written by whom the state that is there was written; null: there is none */
function checkPartitions(
  plan: Plan,
  found: readonly (TopicDescription | null)[],
  written: TopologyDescription | null,
): void {
  for (const [i, { partitions }] of plan.topics.entries()) {
    const topic = found[i] ?? null
    // Those that have a number of their own (a final stage's, others' topics) are the same in every plan.
    const expected = written !== null && partitions === plan.partitions ? written.partitions : partitions
    if (topic !== null && topic.partitions !== expected) {
      throw partitionsChanged(topic, expected, written !== null)
    }
  }
}

async function readTopology(log: Log, topic: string): Promise<TopologyDescription | null> {
  const place = { topic, partition: 0 }
  const [range] = await log.admin.offsets([place])
  let last: TopologyDescription | null = null
  await readUntil(log, place, { from: range!.start, end: range!.stable }, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      last = JSON.parse(batch.valueAt(i)!.toString('utf8')) as TopologyDescription
    }
  })
  return last
}

async function writeTopology(log: Log, topic: string, description: TopologyDescription): Promise<void> {
  const producer = log.idempotentProducer()
  const record = new BatchBuilder(topic, 0)
  record.append(TOPOLOGY_KEY, Buffer.from(JSON.stringify(description)))
  try {
    await producer.send([record])
  } finally {
    await producer.close()
  }
}
