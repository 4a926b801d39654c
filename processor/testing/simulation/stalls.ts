import type { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { decodeMark, MARK_HEADER } from '../../../schemas/marks.ts'
import type { Plan } from '../../topology/plan.ts'
import type { Stall } from '../../topology/stalls.ts'
import { sourceTopicOf, TIMING } from './pipelines.ts'

/** Longer than it takes, where nothing is slow, until a worker has looked again. */
const LOOKS_MS = 1_500

/**
 * What is wrong with the stalls that were told of: one told of twice, or that was none, or, where nothing ever went
 * wrong, one that was not told of.
 */
export function wrongStalls(cluster: SimulatedCluster, plan: Plan, isUntroubled: boolean): string[] {
  const sink = plan.sinks.find(({ node }) => node.name === 'sim.stalls')
  if (sink === undefined) return []
  const told: Stall[] = []
  for (const partition of cluster.topic(sink.topic)!.partitions) {
    for (const { batch, fate } of partition.inspect()) {
      if (fate !== 'committed' && fate !== 'plain') continue
      for (let i = 0; i < batch.count; i++) {
        const value = batch.valueAt(i)!
        told.push(sink.node.schema.decode(value, 5, value.length) as Stall)
      }
    }
  }
  const lastWords = lastWordsOf(cluster, plan)
  const found: string[] = []
  for (const { since, noticed_at } of told) {
    if (told.filter((other) => other.since === since).length > 1)
      found.push(`the stall since ${since} is told of twice`)
    if (!lastWords.has(since))
      found.push(`nothing of the source was taken in at ${since}, since when it stalls`)
    if (noticed_at - since < TIMING.stalledAfterMs) {
      found.push(`the source was silent from ${since} to ${noticed_at} only`)
    }
  }
  if (isUntroubled) {
    for (const [since, silentMs] of lastWords) {
      if (silentMs > TIMING.stalledAfterMs + LOOKS_MS && !told.some((stall) => stall.since === since)) {
        found.push(`nobody was told of the stall since ${since}`)
      }
    }
  }
  return found
}

/** When something of the source was taken in, and for how long nothing followed; 0 behind the end of its input. */
function lastWordsOf(cluster: SimulatedCluster, plan: Plan): Map<number, number> {
  const words = new Map<number, number>()
  let lastMs: number | null = null
  let isEnded = false
  for (const { batch } of cluster.topic(sourceTopicOf(plan))!.partitions[0]!.inspect()) {
    for (let i = 0; i < batch.count; i++) {
      const atMs = batch.timestampAt(i)
      if (lastMs !== null && atMs > lastMs) words.set(lastMs, isEnded ? 0 : atMs - lastMs)
      lastMs = atMs
      isEnded =
        batch.headerAt(i, MARK_HEADER) === undefined ? isEnded : decodeMark(batch.valueAt(i)!).kind === 'end'
    }
  }
  if (lastMs !== null) words.set(lastMs, 0)
  return words
}
