import { systemClock, systemTimer, type Clock, type Timer } from '../config/clock.ts'
import type { PartitionOffsets, TopicPartition } from './port.ts'

const POLL_MS = 10
/** A dead process' transaction is over by then: its time-out and the broker's sweep. What lasts longer is said. */
const USUAL_WAIT_MS = 20_000

export interface StableWaitOptions {
  readonly clock?: Clock
  readonly timer?: Timer
  /** Ends the waiting, with its reason. */
  readonly signal?: AbortSignal
  /** Told once, in words, when it lasts longer than usual. */
  readonly onWait: (message: string) => void
}

/** Waiting for open transactions to end, in steps between which the caller looks. */
export class StableWait {
  readonly #options: StableWaitOptions
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #beganMs: number
  #isSaid = false

  constructor(options: StableWaitOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#timer = options.timer ?? systemTimer
    this.#beganMs = this.#clock.nowMs()
  }

  /** @param open where it is waited, as it was seen last */
  async pause(open: readonly (TopicPartition & PartitionOffsets)[]): Promise<void> {
    const { signal, onWait } = this.#options
    if (!this.#isSaid && this.#clock.nowMs() - this.#beganMs > USUAL_WAIT_MS) {
      this.#isSaid = true
      onWait(
        `still waiting for an open transaction to end in ${open.map(described).join(' or ')}: ` +
          'kafka-transactions.sh finds and ends what hangs.',
      )
    }
    await this.#timer.sleep(POLL_MS, signal)
    signal?.throwIfAborted()
  }
}

function described({ topic, partition, stable, end }: TopicPartition & PartitionOffsets): string {
  return `${topic} partition ${partition} (stable up to ${stable} of ${end})`
}
