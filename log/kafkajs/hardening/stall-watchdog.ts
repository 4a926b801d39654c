/**
 * Fault: KafkaJS gives up a request that is not answered in time, but keeps the connection, so that on one that
 * is half open (a dead peer, a dropped NAT entry) every later request waits out its time as well, and a consumer
 * stands still without a word (issues 659, 1431).
 * Where: kafkajs/src/network/requestQueue/socketRequest.js (`timeoutRequest` rejects the one request only).
 * Mended here: one late answer ends the connection with all that waits on it; the next request makes a new one.
 */
export class StallWatchdog {
  readonly #onStall: (what: string) => void

  /** @param onStall ends the connection */
  constructor(onStall: (what: string) => void) {
    this.#onStall = onStall
  }

  /** Gives what the answer brings, unless it stalls; then `onStall` has to make `answer` reject. */
  async watch<T>(what: string, timeoutMs: number, answer: Promise<T>): Promise<T> {
    let isAnswered = false
    const timer = setTimeout(() => {
      // A process that stood still itself (SIGSTOP, a long turn) reads first what came meanwhile.
      setImmediate(() => {
        if (!isAnswered) this.#onStall(`${what} got no answer in ${timeoutMs} ms`)
      })
    }, timeoutMs)
    try {
      return await answer
    } finally {
      isAnswered = true
      clearTimeout(timer)
    }
  }
}
