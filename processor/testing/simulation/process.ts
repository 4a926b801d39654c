import type { Clock, Timer } from '../../../config/clock.ts'
import { ConnectionLost, Refusal, type Connection, type Handler } from '../../../log/simulated/wire.ts'
import type { Scheduler } from './scheduler.ts'

/** Longest that a client takes to see that its connection is gone. */
const SEEN_BROKEN_MS = 1_500
/** Longest that a request may still be on its way when its client has given it up. */
const LATE_MS = 6_000

/**
 * A process: its code runs when something comes to it, and what it sends is on its way for a while.
 * One that is killed never goes on, though its requests may still arrive; one that is paused goes on
 * later, not knowing.
 */
export class SimulatedProcess implements Clock, Timer, Connection {
  readonly name: string
  readonly #scheduler: Scheduler
  #isAlive = true
  #isPaused = false
  #waiting: (() => void)[] = []

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.#scheduler = scheduler
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Whole milliseconds, as a computer's clock gives them. */
  nowMs(): number {
    return Math.floor(this.#scheduler.nowMs())
  }

  random(): number {
    return this.#scheduler.random.next()
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve(), { once: true })
      this.#later(ms, `${this.name} wakes`, resolve)
    })
  }

  turn(): Promise<void> {
    return new Promise((resolve) => this.#later(this.random() * 0.1, `${this.name} goes on`, resolve))
  }

  request<A>(what: string, handler: Handler<A>): Promise<A> {
    return new Promise((resolve, reject) => {
      let isSettled = false
      const settle = (ms: number, how: string, action: () => void): void => {
        this.#later(ms, `${this.name} ◄ ${what}: ${how}`, () => {
          if (isSettled) return
          isSettled = true
          action()
        })
      }
      this.go(() => {
        this.#send(what, handler, {
          answered: (answer, ms) =>
            answer instanceof Refusal
              ? settle(ms, answer.code, () => reject(answer))
              : settle(ms, 'answered', () => resolve(answer)),
          broken: (ms) => settle(ms, 'connection lost', () => reject(new ConnectionLost(what))),
        })
      })
    })
  }

  /** As kill -9 does. */
  kill(): void {
    this.#scheduler.note(`${this.name} is killed`)
    this.#isAlive = false
    this.#waiting = []
  }

  /** As SIGSTOP does. */
  pause(): void {
    this.#scheduler.note(`${this.name} is stopped`)
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused || !this.#isAlive) return
    this.#isPaused = false
    for (const run of this.#waiting.splice(0)) this.#later(0, `${this.name} goes on after its stop`, run)
  }

  #send<A>(
    what: string,
    handler: Handler<A>,
    client: { answered: (answer: A | Refusal, ms: number) => void; broken: (ms: number) => void },
  ): void {
    const scheduler = this.#scheduler
    const { random, weather } = scheduler
    const isBroken = weather.breakChance > 0 && random.chance(weather.breakChance)
    // A broken connection: the request was lost, or only its answer, or it arrives when nobody waits for it.
    const fate = isBroken ? random.int(0, 2) : 1
    if (isBroken) client.broken(random.next() * (random.chance(0.3) ? SEEN_BROKEN_MS : 20))
    if (fate === 0) return
    const arrivesMs = fate === 2 ? random.next() * LATE_MS : scheduler.latencyMs()
    scheduler.after(arrivesMs, `${this.name} ► ${what}${fate === 2 ? ' (late)' : ''}`, () => {
      const reply = (answer: A | Refusal): void => {
        if (!isBroken) client.answered(answer, scheduler.latencyMs())
      }
      try {
        handler(reply)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        reply(error)
      }
    })
  }

  #later(ms: number, what: string, run: () => void): void {
    this.#scheduler.after(ms, what, () => this.go(run))
  }

  /** A part of the process' code: never once it is killed, later while it is stopped. */
  go(run: () => void): void {
    if (!this.#isAlive) return
    if (this.#isPaused) {
      this.#waiting.push(run)
      return
    }
    this.#scheduler.woke()
    run()
  }
}
