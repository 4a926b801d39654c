import type { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { decodeMark, MARK_HEADER } from '../../../schemas/marks.ts'
import type { Plan } from '../../topology/plan.ts'
import type { Stall } from '../../topology/stalls.ts'
import { sourceTopicOf, TIMING } from './pipelines.ts'
import { committedRows } from './reference.ts'

/** Longer than it takes, where nothing is slow, until a worker has looked again. */
const LOOKS_MS = 1_500

/**
 * What is wrong with the stalls that were told of: one told of twice, or that was none, or, where nothing ever went
 * wrong, one that was not told of.
 */
export function wrongStalls(cluster: SimulatedCluster, plan: Plan, isUntroubled: boolean): string[] {
  const sink = plan.sinks.find(({ node }) => node.name === 'sim.stalls')
  if (sink === undefined) return []
  const told = [...committedRows(cluster, sink)] as unknown as Stall[]
  const words = wordsOf(cluster, plan)
  const found: string[] = []
  for (const { since, noticed_at } of told) {
    const word = words.get(since)
    if (told.filter((other) => other.since === since).length > 1) {
      found.push(`the stall since ${since} is told of twice`)
    }
    if (word === undefined) found.push(`nothing of the source was taken in at ${since}, since when it stalls`)
    else if (word.isEnd) found.push(`the source had ended at ${since}, since when it stalls`)
    if (noticed_at - since < TIMING.stalledAfterMs) {
      found.push(`the source was silent from ${since} to ${noticed_at} only`)
    }
    if (isUntroubled && word !== undefined && word.silentMs < TIMING.stalledAfterMs) {
      found.push(`the source was silent for ${word.silentMs} ms only from ${since} on`)
    }
  }
  if (!isUntroubled) return found
  for (const [since, { silentMs, isEnd }] of words) {
    const isDue = silentMs > TIMING.stalledAfterMs + LOOKS_MS && silentMs < Infinity && !isEnd
    if (isDue && !told.some((stall) => stall.since === since)) {
      found.push(`nobody was told of the stall since ${since}`)
    }
  }
  return found
}

interface Word {
  /** For how long nothing followed. */
  readonly silentMs: number
  /** It was the end mark. */
  readonly isEnd: boolean
}

/** What of the source was taken in, by when. */
function wordsOf(cluster: SimulatedCluster, plan: Plan): Map<number, Word> {
  const words = new Map<number, Word>()
  let last = null as { atMs: number; isEnd: boolean } | null
  for (const { batch } of cluster.topic(sourceTopicOf(plan))!.partitions[0]!.inspect()) {
    for (let i = 0; i < batch.count; i++) {
      const atMs = batch.timestampAt(i)
      if (last !== null && atMs > last.atMs) {
        words.set(last.atMs, { silentMs: atMs - last.atMs, isEnd: last.isEnd })
      }
      const isMark = batch.headerAt(i, MARK_HEADER) !== undefined
      // Only a mark speaks for the source as a whole.
      const isEnd = isMark ? decodeMark(batch.valueAt(i)!).kind === 'end' : (last?.isEnd ?? false)
      last = { atMs, isEnd }
    }
  }
  if (last !== null) words.set(last.atMs, { silentMs: Infinity, isEnd: last.isEnd })
  return words
}
