/** What a pipeline is written with: `import { definePipeline, … } from 'millrace'`. */
export { definePipeline, source } from './processor/topology/pipeline.ts'
export type {
  NamedQuery,
  Pipeline,
  PipelineDefinition,
  Source,
  SourceOptions,
} from './processor/topology/pipeline.ts'
export type { AggregateOptions, ReduceFunctions } from './processor/topology/rows.ts'
export type { AggregatedStream, GroupedStream, Stream, WindowedStream } from './processor/topology/stream.ts'
export type { Stall, StallsOptions } from './processor/topology/stalls.ts'
export { TopologyError } from './processor/topology/graph.ts'
export { avg, count, max, min, sum, type Aggregate } from './processor/windows/aggregates.ts'
export { first, last } from './processor/windows/first-last.ts'
export { reduce } from './processor/windows/reduce.ts'
export { tumbling, type TumblingWindows } from './processor/windows/tumbling.ts'
export { contract, type Contract, type ContractOptions } from './schemas/contract.ts'
export {
  day,
  table,
  topic,
  type TableDestination,
  type TableOptions,
  type TopicDestination,
  type TopicOptions,
} from './schemas/destinations.ts'
export type { Duration } from './schemas/duration.ts'
export {
  boolean,
  bytes,
  double,
  extend,
  int,
  long,
  optional,
  schema,
  SchemaError,
  string,
  timestamp,
  type RowOf,
  type Schema,
} from './schemas/schema.ts'
// What `export const generators` beside a pipeline is made of.
export type { RecordMaker } from './bridge/generator/generated-records.ts'
// What `export const formats` beside a pipeline is made of.
export { lines, type LinesOptions } from './bridge/adapters/lines.ts'
export type { TextFormat } from './bridge/adapters/format.ts'
