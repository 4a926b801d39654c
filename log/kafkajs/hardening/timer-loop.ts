/**
 * Fault: with nothing to wait for, KafkaJS's request queue sets its timer to a negative time, which Node takes as
 * 1 ms; the timer sets itself again, on every connection, for ever: 4–8% of a core in an idle process (issue 1751).
 * Where: kafkajs/src/network/requestQueue/index.js (`scheduleCheckPendingRequests`).
 * Mended here: its queue is not used. What a broker has asked to be held back (KIP-219) waits for its time, and nothing
 * else has a timer.
 */
import { setTimeout } from 'node:timers/promises'

export class Throttle {
  #untilMs = 0

  /** A broker's answer asks for so long a pause before the connection's next request. */
  ask(pauseMs: number): void {
    if (pauseMs > 0) this.#untilMs = Math.max(this.#untilMs, performance.now() + pauseMs)
  }

  get isOn(): boolean {
    return performance.now() < this.#untilMs
  }

  async over(): Promise<void> {
    while (this.isOn) await setTimeout(Math.ceil(this.#untilMs - performance.now()))
  }
}
