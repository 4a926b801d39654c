/** What the owners of figures give when they are asked; telemetry knows nothing of them (design §2). */

export interface CommitFigures {
  /** Commit steps 1 to 6. */
  readonly durationMs: number
  /** Of the inputs, marks included. */
  readonly records: number
  /** How long ago the oldest of them was ingested; null: the commit covers none. */
  readonly latencyMs: number | null
}

export interface TaskFigures {
  readonly task: string
  /** Its input. */
  readonly topic: string
  readonly partition: number
  /** The next offset to process. */
  readonly position: number
  /** Epoch ms; null: nothing is known yet. */
  readonly watermarkMs: number | null
  /** Totals of the task's whole life, by `<node>.<what is counted>`. */
  readonly counters: Readonly<Record<string, number>>
}

export interface LagFigures {
  readonly task: string
  readonly topic: string
  readonly partition: number
  readonly records: number
}

export interface CacheFigures {
  readonly bytes: number
  readonly maxBytes: number
  readonly hits: number
  readonly misses: number
}

export interface SourceFigures {
  readonly source: string
  readonly valid: number
  readonly invalid: number
  readonly behindWatermark: number
  readonly bytes: number
  /** Nothing with an earlier event time will come, epoch ms; null before the first record. */
  readonly promiseMs: number | null
}

export interface SinkFigures {
  readonly destination: string
  readonly rows: number
  readonly refused: number
  readonly heldBytes: number
}

export interface SinkLagFigures {
  readonly destination: string
  readonly records: number
}

/** Asked at each scrape; what a process does not have is left out. */
export interface Figures {
  readonly tasks?: () => readonly TaskFigures[]
  readonly lag?: () => Promise<readonly LagFigures[]>
  readonly cache?: () => CacheFigures
  /** How many tasks are being restored. */
  readonly restoring?: () => number
  readonly sources?: () => readonly SourceFigures[]
  readonly sinks?: () => readonly SinkFigures[]
  readonly sinkLag?: () => Promise<readonly SinkLagFigures[]>
}
