/** Holds the sources while what reads behind them is too far back, so that the log does not grow without end. */
export interface BackPressureOptions {
  /** How far back it is now, in records. */
  lag(): Promise<number>
  /** Hold above it … Default 400,000. */
  readonly maxRecords?: number
  /** … until it is below. Default half of that. */
  readonly resumeRecords?: number
  /** Between two looks. Default 100. */
  readonly everyMs?: number
}

export class BackPressure {
  readonly #lag: () => Promise<number>
  readonly #maxRecords: number
  readonly #resumeRecords: number
  readonly #everyMs: number
  #held: PromiseWithResolvers<void> | null = null
  #looking = false
  #lastLag = 0
  #timer: NodeJS.Timeout | null = null

  constructor({
    lag,
    maxRecords = 400_000,
    resumeRecords = maxRecords / 2,
    everyMs = 100,
  }: BackPressureOptions) {
    this.#lag = lag
    this.#maxRecords = maxRecords
    this.#resumeRecords = resumeRecords
    this.#everyMs = everyMs
  }

  /** As it was at the last look. */
  get lastLag(): number {
    return this.#lastLag
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#everyMs)
    this.#timer.unref()
  }

  /** What a source awaits before its next chunk; undefined: go on. */
  gate(): Promise<void> | undefined {
    return this.#held?.promise
  }

  get isOn(): boolean {
    return this.#held !== null
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#release()
  }

  /** Looks now, unless that is under way. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const lag = await this.#lag()
      this.#lastLag = lag
      if (this.#timer === null) return
      if (this.#held === null && lag > this.#maxRecords) this.#held = Promise.withResolvers()
      else if (lag < this.#resumeRecords) this.#release()
    } catch {
      // A log that does not answer is said by those who write to it; here it only means: as before.
    } finally {
      this.#looking = false
    }
  }

  #release(): void {
    this.#held?.resolve()
    this.#held = null
  }
}
