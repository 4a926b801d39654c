/**
 * Fault: with nothing to wait for, KafkaJS's request queue sets its timer to a negative time, which Node takes as
 * 1 ms; the timer sets itself again, on every connection, for ever: 4–8% of a core in an idle process (issue 1751).
 * Where: kafkajs/src/network/requestQueue/index.js (`scheduleCheckPendingRequests`).
 * Mended here: no timer while nothing is queued, and never one that is over already.
 */
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'

const CHECK_INTERVAL_MS = 10

export function mendTimerLoop(): void {
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length === 0 || this.throttleCheckTimeoutId !== null) return
    const throttledMs = this.throttledUntil - Date.now()
    this.throttleCheckTimeoutId = setTimeout(
      () => {
        this.throttleCheckTimeoutId = null
        this.checkPendingRequests()
      },
      throttledMs > 0 ? throttledMs : CHECK_INTERVAL_MS,
    )
  }
}
