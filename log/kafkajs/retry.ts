import { Backoff } from '../../config/backoff.ts'
import type { Timer } from '../../config/clock.ts'
import { LogError } from '../errors.ts'
import { finalError, isPassing, KAFKA, PassingError, UnknownTopic } from './errors.ts'

export interface RetryOptions {
  readonly timer: Timer
  /** In [0, 1). */
  readonly random: () => number
  /** Aborted when the log is closed. */
  readonly closing: AbortSignal
  readonly troubles: Troubles
}

/** So long may a topic that nobody has said to be there be unknown to a broker: less than what is worth a word. */
const UNKNOWN_TOPIC_MS = 1_500
const FIRST_PAUSE_MS = 20
const FIRST_BRIEF_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 1_000
const LONGEST_BRIEF_PAUSE_MS = 50
/** What lasts longer is worth a word. */
const REPORT_AFTER_MS = 2_000

/** Says once that Kafka does not answer, and once that it does again, however many calls are held up by it. */
export class Troubles {
  readonly #report: (message: string) => void
  readonly #troubled = new Set<object>()
  #onTrouble: (() => void) | null = null

  constructor(report: (message: string) => void) {
    this.#report = report
  }

  /** Calls back as soon as Kafka does not answer: now, or when it comes to that. */
  whenAny(onTrouble: () => void): void {
    if (this.#troubled.size > 0) onTrouble()
    else this.#onTrouble = onTrouble
  }

  add(who: object, error: Error): void {
    if (this.#troubled.size === 0) this.#report(`Kafka: ${error.message}. Trying again until it answers.`)
    this.#troubled.add(who)
    this.#onTrouble?.()
  }

  remove(who: object): void {
    if (this.#troubled.delete(who) && this.#troubled.size === 0) this.#report('Kafka answers again.')
  }
}

/** The pauses of one thing that is tried until it succeeds or its time is over. */
export class Retry {
  readonly #what: string
  readonly #options: RetryOptions
  readonly #timeoutMs: number
  #backoff: Backoff | null = null
  #isBrief = false
  #sinceMs: number | null = null
  #unknownTopicSinceMs: number | null = null

  /**
   * @param what as errors begin
   * @param timeoutMs of failing without a success between; Infinity: for ever
   */
  constructor(what: string, timeoutMs: number, options: RetryOptions) {
    this.#what = what
    this.#timeoutMs = timeoutMs
    this.#options = options
  }

  succeeded(): void {
    if (this.#sinceMs === null) return
    this.#sinceMs = null
    this.#backoff = null
    this.#unknownTopicSinceMs = null
    this.#options.troubles.remove(this)
  }

  /** Waits before the next try. @throws the error itself where it does not pass, LogError when the time is over */
  async pause(error: unknown): Promise<void> {
    const pauseMs = this.nextPauseMs(error)
    const { timer, closing } = this.#options
    await timer.sleep(pauseMs, closing)
    if (closing.aborted) throw this.#closed()
  }

  /** As {@link pause}, for those who wait themselves. */
  nextPauseMs(error: unknown): number {
    try {
      return this.#nextPauseMs(error)
    } catch (final) {
      this.#options.troubles.remove(this)
      throw final
    }
  }

  #nextPauseMs(error: unknown): number {
    if (this.#options.closing.aborted) throw this.#closed()
    if (!isPassing(error)) throw error
    const nowMs = performance.now()
    this.#sinceMs ??= nowMs
    const failingMs = nowMs - this.#sinceMs
    this.#checkUnknownTopic(error, nowMs)
    if (failingMs >= this.#timeoutMs) {
      if (error instanceof UnknownTopic) throw finalError(error.kafkaCode, error.subject, error)
      throw new LogError(
        'UNAVAILABLE',
        `${this.#what} has failed for ${Math.round(failingMs)} ms, at last: ${error.message}. ` +
          adviceOn(error),
        { cause: error },
      )
    }
    const isBrief = error instanceof PassingError && error.isBrief
    if (failingMs >= REPORT_AFTER_MS && !isBrief) this.#options.troubles.add(this, error)
    if (this.#backoff === null || this.#isBrief !== isBrief) {
      this.#isBrief = isBrief
      this.#backoff = new Backoff({
        initialMs: isBrief ? FIRST_BRIEF_PAUSE_MS : FIRST_PAUSE_MS,
        maxMs: isBrief ? LONGEST_BRIEF_PAUSE_MS : LONGEST_PAUSE_MS,
        random: this.#options.random,
      })
    }
    return this.#backoff.nextMs()
  }

  #checkUnknownTopic(error: Error, nowMs: number): void {
    if (!(error instanceof UnknownTopic) || error.isNew) {
      this.#unknownTopicSinceMs = null
      return
    }
    this.#unknownTopicSinceMs ??= nowMs
    if (nowMs - this.#unknownTopicSinceMs < UNKNOWN_TOPIC_MS) return
    throw finalError(error.kafkaCode, error.subject, error)
  }

  #closed(): LogError {
    return new LogError('CLOSED', `${this.#what}: the log was closed meanwhile`)
  }
}

function adviceOn(error: Error): string {
  return error instanceof PassingError && error.kafkaCode === KAFKA.unstableOffsetCommit
    ? 'A transaction that holds these offsets does not end: kafka-transactions.sh find-hanging says whether the broker has forgotten it'
    : 'Check that the brokers run, can be reached at the addresses that they advertise, and have enough replicas in sync'
}
