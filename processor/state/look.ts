/** What a state says of a task, without taking it over: for display. */
export interface StateLook {
  readonly task: string
  /** Of the copy that is read; null: none yet. */
  readonly incarnation: string | null
  /** Of who owns it. */
  readonly token: number
  /** The next changelog offset to apply. */
  readonly changelogOffset: number
  /** As the owner wrote it last: where the task stands (processor/runtime/progress.ts). */
  readonly taskRecord: Buffer | null
  /** null where it is not counted. */
  readonly size: StateSize | null
}

export interface StateSize {
  /** Copies that have keys, older ones that are being removed among them. */
  readonly incarnations: number
  readonly segments: number
  readonly entries: number
  readonly bytes: number
}
