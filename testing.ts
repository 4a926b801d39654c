/** What a pipeline is tested with: `import { TestDriver } from 'millrace/testing'`. */
import type { Pipeline } from './processor/topology/pipeline.ts'
import { PipelineDriver, type DriverOptions } from './processor/testing/driver.ts'

/** A whole pipeline in this process, in memory, under a clock that the test moves. */
export type TestDriver = Pick<
  PipelineDriver,
  'send' | 'end' | 'settle' | 'rows' | 'deadLetters' | 'counters' | 'kill' | 'clock' | 'close'
>

export type TestDriverOptions = Pick<DriverOptions, 'partitions' | 'processes' | 'startMs'>

export const TestDriver: {
  open(pipeline: Pipeline, options?: TestDriverOptions): Promise<TestDriver>
} = PipelineDriver
