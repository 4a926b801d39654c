import type { Log } from '../../log/port.ts'
import { inputPartitions, type Plan } from '../topology/plan.ts'

/** The group whose committed offsets show how far an application's processing has come. */
export function processGroupId(application: string): string {
  return `${application}.process`
}

/** How many offsets of the inputs, repartition topics included, are written and not yet committed as processed. */
export async function processingLag(log: Log, plan: Plan): Promise<number> {
  const partitions = inputPartitions(plan)
  // Offsets first: what is written meanwhile counts as lag next time, not as progress now.
  const ranges = await log.admin.offsets(partitions)
  const committed = await log.admin.groupOffsets(processGroupId(plan.application), partitions)
  return ranges.reduce(
    (lag, { start, stable }, i) => lag + Math.max(0, stable - (committed[i]?.offset ?? start)),
    0,
  )
}
