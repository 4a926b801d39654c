import { systemClock, type Clock } from '../config/clock.ts'
import { oneAtATime, orLate } from './time-limit.ts'

export interface HealthOptions {
  readonly clock?: Clock
  /** A loop that has not turned for so long is taken for stuck. Default 120,000. */
  readonly maxSilenceMs?: number
  /** A readiness check must answer within this. Default 2,000. */
  readonly checkTimeoutMs?: number
  /** Answers are given again for so long, so that many probes ask no more than one. Default 1,000. */
  readonly cacheMs?: number
}

export interface ReadinessCheck {
  /** What is asked: `log`, `state`, `tasks`. */
  readonly name: string
  /** null: ready; else why not. An error's message is the reason too. */
  check(): Promise<string | null> | string | null
}

export interface HealthReport {
  readonly ok: boolean
  readonly reasons: readonly { readonly name: string; readonly reason: string }[]
}

/** A loop that says when it turns. */
export interface Loop {
  turned(): void
  /** It has ended as it should: its silence means nothing any more. */
  ended(): void
}

/**
 * Whether a process should be left alone (`alive`: else kill it) and whether it does its work (`ready`: else
 * wait, or look). An unready process is not a dead one: Redis away is no reason to restart.
 */
export class Health {
  readonly #clock: Clock
  readonly #maxSilenceMs: number
  readonly #checkTimeoutMs: number
  readonly #cacheMs: number
  /** When each last turned, epoch ms. */
  readonly #loops = new Map<string, number>()
  readonly #checks: ReadinessCheck[] = []
  #ready: { readonly atMs: number; readonly report: Promise<HealthReport> } | null = null

  constructor({
    clock = systemClock,
    maxSilenceMs = 120_000,
    checkTimeoutMs = 2_000,
    cacheMs = 1_000,
  }: HealthOptions = {}) {
    this.#clock = clock
    this.#maxSilenceMs = maxSilenceMs
    this.#checkTimeoutMs = checkTimeoutMs
    this.#cacheMs = cacheMs
  }

  /** Watches a loop from now on. It must say that it turns also while it waits or restores. */
  loop(name: string): Loop {
    const turned = (): void => void this.#loops.set(name, this.#clock.nowMs())
    turned()
    return { turned, ended: () => void this.#loops.delete(name) }
  }

  addCheck({ name, check }: ReadinessCheck): void {
    this.#checks.push({ name, check: oneAtATime(check) })
    this.#ready = null
  }

  /** That somebody asks and is answered shows that the event loop turns; the rest is what the loops said. */
  alive(): HealthReport {
    const nowMs = this.#clock.nowMs()
    const reasons = [...this.#loops]
      .filter(([, lastMs]) => nowMs - lastMs > this.#maxSilenceMs)
      .map(([name, lastMs]) => ({
        name,
        reason: `has not turned for ${Math.round((nowMs - lastMs) / 1000)} s`,
      }))
    return { ok: reasons.length === 0, reasons }
  }

  ready(): Promise<HealthReport> {
    const nowMs = this.#clock.nowMs()
    if (this.#ready === null || nowMs - this.#ready.atMs > this.#cacheMs) {
      this.#ready = { atMs: nowMs, report: this.#check() }
    }
    return this.#ready.report
  }

  async #check(): Promise<HealthReport> {
    const answers = await Promise.all(
      this.#checks.map(async ({ name, check }) => ({ name, reason: await this.#reasonOf(check) })),
    )
    const reasons = answers.flatMap(({ name, reason }) => (reason === null ? [] : [{ name, reason }]))
    return { ok: reasons.length === 0, reasons }
  }

  async #reasonOf(check: ReadinessCheck['check']): Promise<string | null> {
    const answer = await orLate(check, this.#checkTimeoutMs)
    if ('value' in answer) return answer.value
    if ('late' in answer) return `no answer within ${this.#checkTimeoutMs} ms`
    return answer.error instanceof Error ? answer.error.message : String(answer.error)
  }
}
