import { Backoff } from '../../config/backoff.ts'
import type { Timer } from '../../config/clock.ts'
import { Recess } from './recess.ts'

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 10_000

/** What a worker does while the log or the state does not answer: it says so once, and tries again, ever more slowly. */
export class Patience {
  /** The state does not answer: inputs rest, buffers are kept. */
  readonly standingBack: Recess
  /** All tasks have to be opened again, after a pause. */
  readonly reopening: Recess
  readonly #backoff: Backoff
  readonly #report: (message: string) => void
  #hasSaidWaiting = false

  constructor(options: {
    readonly timer: Timer
    readonly random: () => number
    readonly report: (message: string) => void
    /** Ends pauses early. */
    readonly signal: AbortSignal
    /** Called when a pause is over. */
    readonly wake: () => void
  }) {
    const { timer, signal, wake, random } = options
    this.#report = options.report
    this.#backoff = new Backoff({ initialMs: FIRST_BACKOFF_MS, maxMs: LONGEST_BACKOFF_MS, random })
    this.standingBack = new Recess(timer, signal, wake)
    this.reopening = new Recess(timer, signal, wake)
  }

  /** Until the next try. */
  nextMs(): number {
    return this.#backoff.nextMs()
  }

  waiting(error: Error): void {
    if (!this.#hasSaidWaiting) this.#report(`${error.message} Nothing is lost; trying again until it works.`)
    this.#hasSaidWaiting = true
  }

  answered(): void {
    this.#backoff.reset()
    if (this.#hasSaidWaiting) this.#report('The log and the state answer again; going on.')
    this.#hasSaidWaiting = false
  }
}
