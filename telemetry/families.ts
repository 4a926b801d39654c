/**
 * Every metric family that Millrace serves, once: `/metrics`, docs/metrics.md and the tests are made from it.
 * Labels have few values (a task, a topic, a partition, a node, a destination), never a record's ids.
 */

export interface Family {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  /** Upper bounds, of histograms. */
  readonly buckets?: readonly number[]
}

const TASK = ['task'] as const
const NODE = ['task', 'node'] as const
const INPUT = ['task', 'topic', 'partition'] as const
const SOURCE = ['source'] as const
const DESTINATION = ['destination'] as const

/** From a commit on the embedded log to a backlog of an hour. */
const LATENCY_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600]
const CALL_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const RESTORE_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800]

export const FAMILIES = {
  info: gauge(
    'millrace_info',
    'Always 1; its labels say which application, role and version this process runs.',
    ['application', 'role', 'version'],
  ),
  unavailable: gauge(
    'millrace_family_unavailable',
    'Whether a family is left out of this scrape (1), because the log did not answer in time.',
    ['family'],
  ),

  lag: gauge(
    'millrace_task_lag_records',
    "Offsets of a task's input partition that are written and not yet committed as processed, marks included.",
    INPUT,
  ),
  position: gauge('millrace_task_position', 'The next offset of its input that a task will process.', INPUT),
  watermark: gauge(
    'millrace_task_watermark_seconds',
    "Event time, in seconds since 1970, before which nothing is outstanding in a task's input. Absent until it is known.",
    TASK,
  ),
  tasks: gauge('millrace_tasks', 'Tasks that are open in this process.', []),
  processed: counter(
    'millrace_processed_records_total',
    'Records that a task has processed in its whole life, over restarts and moves.',
    TASK,
  ),
  refused: counter(
    'millrace_refused_records_total',
    'Records that a task could not process and made dead letters of, in its whole life.',
    TASK,
  ),
  duplicates: counter(
    'millrace_duplicate_records_total',
    "Records that a dedupe dropped as redelivered, in its task's whole life.",
    NODE,
  ),
  late: counter(
    'millrace_late_records_total',
    "Records that came after their window had closed and went to the late stream, in their task's whole life.",
    NODE,
  ),
  closedWindows: counter(
    'millrace_closed_windows_total',
    "Windows that were closed and emitted, in their task's whole life.",
    NODE,
  ),
  stalls: counter(
    'millrace_source_stalls_total',
    "Times that nothing had come from a source for as long as the pipeline allows, in its task's whole life.",
    NODE,
  ),
  skippedWindows: counter(
    'millrace_skipped_empty_windows_total',
    "Empty windows in a row that were left out beyond maxEmptyWindows, in their task's whole life.",
    NODE,
  ),

  commits: counter('millrace_commits_total', 'Transactions committed by this process.', []),
  committedRecords: counter(
    'millrace_committed_records_total',
    'Input records and marks whose processing this process has committed.',
    [],
  ),
  commitSeconds: histogram(
    'millrace_commit_duration_seconds',
    'From closing the write buffers to their release: commit steps 1 to 6.',
    [],
    CALL_SECONDS,
  ),
  latencySeconds: histogram(
    'millrace_end_to_end_latency_seconds',
    "From a record's ingestion into its input topic to the commit that covers it, for the oldest record of each commit.",
    [],
    LATENCY_SECONDS,
  ),
  reopens: counter(
    'millrace_reopens_total',
    'Times that all tasks were opened again after an error, by its code; FENCED and STALE_GENERATION are fences.',
    ['code'],
  ),

  restoring: gauge(
    'millrace_restoring_tasks',
    'Tasks that are being restored from their changelogs now.',
    [],
  ),
  restoredRecords: counter(
    'millrace_restored_records_total',
    'Changelog records applied to state that was missing or behind.',
    [],
  ),
  restoreSeconds: histogram(
    'millrace_restore_duration_seconds',
    'How long a task took to restore; its count is the number of restores.',
    [],
    RESTORE_SECONDS,
  ),

  cacheBytes: gauge('millrace_cache_bytes', "Memory that the state's cache takes.", []),
  cacheMaxBytes: gauge('millrace_cache_max_bytes', "Memory that the state's cache may take.", []),
  cacheHits: counter('millrace_cache_hits_total', 'State entries that were found in memory.', []),
  cacheMisses: counter(
    'millrace_cache_misses_total',
    'State entries that had to be read from the state.',
    [],
  ),
  stateReadSeconds: histogram(
    'millrace_state_read_duration_seconds',
    'How long a bulk read of state took; its count is the number of reads.',
    [],
    CALL_SECONDS,
  ),
  stateReadKeys: counter('millrace_state_read_keys_total', 'Keys asked for in bulk reads of state.', []),
  stateWriteSeconds: histogram(
    'millrace_state_write_duration_seconds',
    "How long applying a commit to a task's state took; its count is the number of writes.",
    [],
    CALL_SECONDS,
  ),
  stateWriteRecords: counter('millrace_state_written_records_total', 'Entries written to state.', []),
  stateErrors: counter('millrace_state_errors_total', 'Reads and writes of state that failed, by code.', [
    'code',
  ]),

  sourceRecords: counter(
    'millrace_source_records_total',
    'Valid records that a source has read in this run.',
    SOURCE,
  ),
  sourceInvalid: counter(
    'millrace_source_invalid_records_total',
    'Records of a source that its contract refused in this run; they are dead letters.',
    SOURCE,
  ),
  sourceBehind: counter(
    'millrace_source_behind_watermark_records_total',
    "Records of a source with an event time before what it had promised (the contract's disorder), in this run.",
    SOURCE,
  ),
  sourceBytes: counter(
    'millrace_source_bytes_total',
    'Bytes of input, uncompressed, read in this run.',
    SOURCE,
  ),
  sourcePromise: gauge(
    'millrace_source_watermark_seconds',
    'Event time, in seconds since 1970, that a source promises nothing to come before. Absent before its first record.',
    SOURCE,
  ),

  sinkRows: counter(
    'millrace_sink_rows_total',
    'Rows that became durable at a destination through this process.',
    DESTINATION,
  ),
  sinkRefused: counter(
    'millrace_sink_refused_rows_total',
    'Rows that a destination refused; they are dead letters.',
    DESTINATION,
  ),
  sinkLag: gauge(
    'millrace_sink_lag_records',
    "Offsets of a sink's partitions that are written and not yet durable at its destination, marks included.",
    DESTINATION,
  ),
  sinkHeldBytes: gauge(
    'millrace_sink_held_bytes',
    "Records in a sink's memory: waiting to be written, or being written.",
    DESTINATION,
  ),

  noticesDelivered: counter(
    'millrace_notices_delivered_total',
    'Notices that a webhook or mail server has taken over from this process. What waits is in the lag of its sink.',
    DESTINATION,
  ),
  noticesRetried: counter(
    'millrace_notices_retried_total',
    'Deliveries of a notice that failed and are tried again.',
    DESTINATION,
  ),
  noticesRefused: counter(
    'millrace_notices_refused_total',
    'Notices that were refused for good; they are dead letters.',
    DESTINATION,
  ),
  noticesTooOld: counter(
    'millrace_notices_too_old_total',
    'Rows that were older than ALERT_MAX_AGE when they came, so that nobody was told.',
    DESTINATION,
  ),
} as const satisfies Readonly<Record<string, Family>>

export type FamilyKey = keyof typeof FAMILIES

function counter(name: string, help: string, labels: readonly string[]): Family {
  return { name, type: 'counter', help, labels }
}

function gauge(name: string, help: string, labels: readonly string[]): Family {
  return { name, type: 'gauge', help, labels }
}

function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  buckets: readonly number[],
): Family {
  return { name, type: 'histogram', help, labels, buckets }
}
