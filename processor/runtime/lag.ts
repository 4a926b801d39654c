import type { Log } from '../../log/port.ts'
import { inputPartitions, type Plan } from '../topology/plan.ts'

/** The group whose committed offsets show how far an application's processing has come. */
export function processGroupId(application: string): string {
  return `${application}.process`
}

/** How many offsets of the inputs, repartition topics included, are written and not yet committed as processed. */
export async function processingLag(log: Log, plan: Plan): Promise<number> {
  return [...(await processingLags(log, plan)).values()].reduce((sum, lag) => sum + lag, 0)
}

/** The same by topic. */
export async function processingLags(log: Log, plan: Plan): Promise<Map<string, number>> {
  const partitions = inputPartitions(plan)
  // Offsets first: what is written meanwhile counts as lag next time, not as progress now.
  const ranges = await log.admin.offsets(partitions)
  const committed = await log.admin.groupOffsets(processGroupId(plan.application), partitions)
  const lags = new Map<string, number>()
  for (const [i, { topic }] of partitions.entries()) {
    const { start, stable } = ranges[i]!
    lags.set(topic, (lags.get(topic) ?? 0) + Math.max(0, stable - (committed[i]?.offset ?? start)))
  }
  return lags
}
