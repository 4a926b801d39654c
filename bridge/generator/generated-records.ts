import { Random } from './random.ts'

/** What a pipeline's generated records look like. Both are functions of what they are given alone. */
export interface RecordMaker {
  /** JSON text of a valid record. */
  record(random: Random, index: number, eventTimeMs: number): string
  /** Text that the contract refuses. */
  badRecord(random: Random, index: number, eventTimeMs: number): string
}

export interface GeneratorOptions {
  readonly maker: RecordMaker
  /** A whole number. Default 1. */
  readonly seed?: number
  /** Records a minute of event time. Default 500. */
  readonly ratePerMinute?: number
  /** Records in all, then it ends. Default null: it goes on for ever. */
  readonly count?: number | null
  /** Share of records that are invalid. Default 0.01. */
  readonly badShare?: number
  /** Share of records that are an earlier one delivered again. Default 0.002. */
  readonly duplicateShare?: number
  /** How far back it begins when it first starts. Default 0; with `count` at least as far as that reaches. */
  readonly sinceMs?: number
  /** How far event times lie out of order, ms; raised to two records' distance. Default 2,000. */
  readonly disorderMs?: number
  /** While it catches up, no faster than this. Default null: as fast as it is taken. */
  readonly maxRecordsPerSecond?: number | null
}

/** From this index on, records lie `stepMs` apart. */
export interface Schedule {
  readonly baseIndex: number
  readonly baseMs: number
  readonly stepMs: number
}

export function timeOf({ baseIndex, baseMs, stepMs }: Schedule, index: number): number {
  return baseMs + (index - baseIndex) * stepMs
}

export function stepOf(ratePerMinute: number): number {
  return 60_000 / ratePerMinute
}

/** The disorder that a generator keeps to: a redelivery of the record before must fit into it. */
export function disorderOf(disorderMs: number, stepMs: number): number {
  return Math.max(disorderMs, 2 * stepMs)
}

export interface GeneratedRecordsOptions {
  readonly maker: RecordMaker
  readonly seed: number
  readonly schedule: Schedule
  readonly disorderMs: number
  readonly badShare: number
  readonly duplicateShare: number
}

type Kind = 'good' | 'bad' | 'duplicate'

/** Record n as a pure function of the seed, n and the schedule. */
export class GeneratedRecords {
  readonly #options: GeneratedRecordsOptions
  readonly #random = new Random()

  constructor(options: GeneratedRecordsOptions) {
    this.#options = options
  }

  textAt(index: number): string {
    const kind = this.#kindOf(index)
    if (kind === 'duplicate') {
      const earlier = this.#earlierThan(index)
      if (earlier >= this.#options.schedule.baseIndex && this.#kindOf(earlier) === 'good') {
        return this.#make(earlier, 'good')
      }
    }
    return this.#make(index, kind)
  }

  #make(index: number, kind: Kind): string {
    const { maker, schedule, disorderMs } = this.#options
    this.#kindOf(index)
    const random = this.#random
    // Half of the disorder is for the jitter, half for redeliveries.
    const eventTimeMs = Math.floor(timeOf(schedule, index) - (random.unit() * disorderMs) / 2)
    return kind === 'bad'
      ? maker.badRecord(random, index, eventTimeMs)
      : maker.record(random, index, eventTimeMs)
  }

  /** Leaves the random sequence behind its first number, wherever it stood. */
  #kindOf(index: number): Kind {
    const { seed, badShare, duplicateShare } = this.#options
    const draw = this.#random.seed(seed, index).unit()
    if (draw < badShare) return 'bad'
    return draw < badShare + duplicateShare ? 'duplicate' : 'good'
  }

  #earlierThan(index: number): number {
    const { schedule, disorderMs } = this.#options
    const reach = Math.max(1, Math.floor(disorderMs / 2 / schedule.stepMs))
    return index - 1 - this.#random.below(reach)
  }
}
