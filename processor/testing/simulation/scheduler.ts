import type { Wire } from '../../../log/simulated/wire.ts'
import type { Random } from './random.ts'

/** How the network and the servers behave; chances are a message's. */
export interface Weather {
  /** Most messages take up to this long. */
  readonly usualMs: number
  /** Some take longer, up to this. */
  readonly slowMs: number
  readonly slowChance: number
  /** The connection breaks under a request. */
  readonly breakChance: number
  /** What the brokers do by themselves takes up to this long, a transaction's markers above all; else as messages. */
  readonly markersMs?: number
}

export const CALM: Weather = { usualMs: 2, slowMs: 2, slowChance: 0, breakChance: 0 }

interface Event {
  readonly atMs: number
  /** Of two at the same time the one that was made first comes first. */
  readonly order: number
  readonly what: string
  readonly run: () => void
}

/**
 * Virtual time, and everything that is going to happen in it. Each event is drawn a delay from the
 * seed, so any order of events comes up; the same seed gives the same order.
 */
export class Scheduler implements Wire {
  readonly random: Random
  weather: Weather
  /** Told of each event as it happens; set to trace or to compare runs. */
  onEvent: ((line: string) => void) | null = null
  events = 0
  readonly #heap: Event[] = []
  readonly #startMs: number
  #nowMs: number
  #order = 0
  #hasWoken = false

  constructor(random: Random, weather: Weather, startMs: number) {
    this.random = random
    this.weather = weather
    this.#startMs = startMs
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  note(line: string): void {
    this.onEvent?.(`${(this.#nowMs - this.#startMs).toFixed(3)} ${line}`)
  }

  soon(what: string, run: () => void): void {
    const { markersMs } = this.weather
    this.after(markersMs === undefined ? this.latencyMs() : this.random.next() * markersMs, what, run)
  }

  after(ms: number, what: string, run: () => void): void {
    this.#push({ atMs: this.#nowMs + ms, order: this.#order++, what, run })
  }

  latencyMs(): number {
    const { usualMs, slowMs, slowChance } = this.weather
    return this.random.next() * (slowChance > 0 && this.random.chance(slowChance) ? slowMs : usualMs)
  }

  /** A process' code goes on with this event: it runs to where it waits before anything else happens. */
  woke(): void {
    this.#hasWoken = true
  }

  /** Runs until `isOver`, which is looked at after every event, or until that time has come. */
  async run(isOver: () => boolean, untilMs = Infinity): Promise<void> {
    for (let event = this.#heap[0]; event !== undefined; event = this.#heap[0]) {
      if (event.atMs > untilMs) {
        this.#nowMs = untilMs
        return
      }
      this.#pop()
      this.#nowMs = event.atMs
      this.events++
      if (this.onEvent !== null) this.note(event.what)
      event.run()
      if (this.#hasWoken) {
        this.#hasWoken = false
        await settled()
      }
      if (isOver()) return
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    const { length } = heap
    if (length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= length) break
      if (child + 1 < length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** Resolves when all promises that can go on have gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
