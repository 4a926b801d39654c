/** What a worker tells its surroundings: for metrics and for people. Each is called at most a few times a second. */
export interface WorkerEvents {
  /** A transaction is committed and applied. */
  committed?(event: CommittedEvent): void
  /** Something failed that opening all tasks again mends; `code` says what. */
  reopening?(event: { readonly code: string; readonly message: string }): void
  /** All assigned tasks of a generation have been claimed. */
  assigned?(event: { readonly tasks: readonly string[]; readonly durationMs: number }): void
  restoring?(event: { readonly task: string; readonly applied: number; readonly total: number }): void
  restored?(event: { readonly task: string; readonly records: number; readonly durationMs: number }): void
}

export interface CommittedEvent {
  readonly tasks: number
  /** Input records and marks that the transaction covers. */
  readonly records: number
  /** From closing the buffers to the state having them, ms. */
  readonly durationMs: number
  /** When the oldest record that it covers was appended to its topic, epoch ms; null: it covers none. */
  readonly oldestIngestionMs: number | null
}
