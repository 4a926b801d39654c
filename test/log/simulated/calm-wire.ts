import { setTimeout as wait } from 'node:timers/promises'
import { Refusal, type Connection, type Handler, type Wire } from '../../../log/simulated/wire.ts'

interface Timed {
  readonly atMs: number
  readonly run: () => void
}

/**
 * Everything arrives, in the order of sending; what the cluster does by itself is done before the
 * next answer. Real time, which a test can move on.
 */
export class CalmWire implements Wire, Connection {
  #aheadMs = 0
  #seed = 1
  #own: (() => void)[] = []
  #timed: Timed[] = []
  readonly #timers = new Set<NodeJS.Timeout>()

  nowMs(): number {
    return Date.now() + this.#aheadMs
  }

  random(): number {
    this.#seed = (this.#seed * 48_271) % 0x7fffffff
    return this.#seed / 0x7fffffff
  }

  soon(_what: string, run: () => void): void {
    this.#own.push(run)
  }

  after(ms: number, _what: string, run: () => void): void {
    this.#timed.push({ atMs: this.nowMs() + ms, run })
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#runDue()
    }, ms)
    this.#timers.add(timer)
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await wait(ms, undefined, signal === undefined ? { ref: false } : { signal, ref: false }).catch(
      () => undefined,
    )
  }

  request<A>(_what: string, handler: Handler<A>): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      const answer = (given: A | Refusal): void => {
        this.#runOwn()
        if (given instanceof Refusal) reject(given)
        else resolve(given)
      }
      setImmediate(() => {
        try {
          handler(answer)
        } catch (error) {
          reject(error as Error)
        }
        this.#runOwn()
      })
    })
  }

  advance(ms: number): void {
    this.#aheadMs += ms
    this.#runDue()
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #runOwn(): void {
    for (let own = this.#own; own.length > 0; own = this.#own) {
      this.#own = []
      for (const run of own) run()
    }
  }

  #runDue(): void {
    const now = this.nowMs()
    const due = this.#timed.filter(({ atMs }) => atMs <= now)
    this.#timed = this.#timed.filter(({ atMs }) => atMs > now)
    for (const { run } of due) run()
    this.#runOwn()
  }
}
