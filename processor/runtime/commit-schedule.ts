import type { Clock } from '../../config/clock.ts'

export interface CommitScheduleOptions {
  /** Fixed, ms; null: between the least and the greatest, as long as commits take. */
  readonly commitIntervalMs: number | null
  readonly minCommitIntervalMs: number
  readonly maxCommitIntervalMs: number
  readonly commitBytes: number
  readonly commitRecords: number
}

/** A commit takes no more of the time than one part in so many. */
const INTERVAL_PER_COMMIT = 10
/** How much the last commit counts in the average. */
const WEIGHT = 0.2

/** When the next commit is due: by time, by bytes that wait, by records processed. */
export class CommitSchedule {
  readonly #options: CommitScheduleOptions
  readonly #clock: Clock
  #intervalMs: number
  #averageMs: number | null = null
  #records = 0
  #dueAtMs: number | null = null
  #oldestIngestionMs: number | null = null

  constructor(options: CommitScheduleOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#intervalMs = options.commitIntervalMs ?? options.minCommitIntervalMs
  }

  /** The pause that is kept between two commits as things stand. */
  get intervalMs(): number {
    return this.#intervalMs
  }

  /** Records since the last `begin`. */
  get records(): number {
    return this.#records
  }

  /** Append time of the oldest record since the last `begin`, epoch ms. */
  get oldestIngestionMs(): number | null {
    return this.#oldestIngestionMs
  }

  get hasWork(): boolean {
    return this.#dueAtMs !== null
  }

  /** Something is to be committed that no record brought. */
  moved(): void {
    this.#dueAtMs ??= this.#clock.nowMs() + this.#intervalMs
  }

  processed(records: number, firstIngestionMs: number): void {
    this.#records += records
    this.moved()
    this.#oldestIngestionMs = Math.min(this.#oldestIngestionMs ?? Infinity, firstIngestionMs)
  }

  /** So much waits that it cannot be put off. */
  isFull(pendingBytes: number): boolean {
    return this.#records >= this.#options.commitRecords || pendingBytes >= this.#options.commitBytes
  }

  isDue(): boolean {
    return this.#dueAtMs !== null && this.#clock.nowMs() >= this.#dueAtMs
  }

  /** ms until it is due by time; Infinity where nothing waits. */
  dueInMs(): number {
    return this.#dueAtMs === null ? Infinity : Math.max(0, this.#dueAtMs - this.#clock.nowMs())
  }

  /** A commit begins, or what waited was dropped. */
  begin(): void {
    this.#records = 0
    this.#dueAtMs = null
    this.#oldestIngestionMs = null
  }

  /** A commit took so long: the interval follows. */
  took(durationMs: number): void {
    const { commitIntervalMs, minCommitIntervalMs, maxCommitIntervalMs } = this.#options
    if (commitIntervalMs !== null) return
    const average =
      this.#averageMs === null ? durationMs : this.#averageMs * (1 - WEIGHT) + durationMs * WEIGHT
    this.#averageMs = average
    this.#intervalMs = Math.min(
      maxCommitIntervalMs,
      Math.max(minCommitIntervalMs, average * INTERVAL_PER_COMMIT),
    )
  }
}
