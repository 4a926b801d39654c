import { PipelineDriver, type DriverOptions } from '../../processor/testing/driver.ts'
import type { Pipeline } from '../../processor/topology/pipeline.ts'

/** The first event time of tests; their clock begins a day later. */
export const START = Date.UTC(2026, 0, 1)

export function openDriver(pipeline: Pipeline, options: DriverOptions): Promise<PipelineDriver> {
  return PipelineDriver.open(pipeline, { startMs: START + 86_400_000, ...options })
}

/** The input ends, and all that comes of it is there. */
export async function finish(driver: PipelineDriver): Promise<void> {
  await driver.end()
  await driver.settle()
}
