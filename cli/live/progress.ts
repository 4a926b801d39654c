/** How a run is getting on: its figures with what they change by, and what is left. */
import type { Role } from '../wire/run.ts'
import type { InputState, RunFigures, SourceState, TableState, TasksState } from './figures.ts'
import { Meter } from './meter.ts'

export interface Progress {
  readonly elapsedMs: number
  /** null, here and below: this process does not have the role. */
  readonly bridge: BridgeProgress | null
  readonly process: ProcessProgress | null
  readonly sink: SinkProgress | null
  readonly sources: readonly SourceProgress[]
  readonly tables: readonly TableProgress[]
  /** Offsets that are not yet through the slowest way behind the sources. */
  readonly lag: number
  /** The least of the sources' that is known, epoch ms. */
  readonly watermarkMs: number | null
  /** null: it has no end. */
  readonly left: Left | null
}

export interface BridgeProgress {
  readonly read: number
  readonly readPerSecond: number
  readonly invalid: number
}

export interface ProcessProgress extends TasksState {
  readonly processedPerSecond: number
}

export interface SinkProgress {
  readonly rows: number
  readonly rowsPerSecond: number
}

export interface SourceProgress extends SourceState {
  readonly readPerSecond: number
}

export interface TableProgress extends TableState {
  readonly writtenPerSecond: number
}

/** Of an input with an end. */
export interface Left extends InputState {
  /** null: it cannot be told yet. */
  readonly seconds: number | null
}

const RATE_WINDOW_MS = 5_000
/** Longer: what is left of hours should not jump about. */
const LEFT_WINDOW_MS = 30_000

export class ProgressMeter {
  readonly #roles: readonly Role[]
  readonly #isFinite: boolean
  readonly #startedMs: number
  readonly #meters = new Map<string, Meter>()
  #unit: InputState['unit'] | null = null

  /** @param isFinite whether the run ends with what there is */
  constructor(roles: readonly Role[], isFinite: boolean, startedMs: number) {
    this.#roles = roles
    this.#isFinite = isFinite
    this.#startedMs = startedMs
  }

  look(figures: RunFigures, nowMs: number): Progress {
    const { read, invalid, sources, tables, tasks, lag } = figures
    const rate = (name: string, total: number): number =>
      this.#meter(name, RATE_WINDOW_MS).add(nowMs, total) ?? 0
    const rows = tables.reduce((sum, { written }) => sum + written, 0)
    const watermarks = sources.flatMap(({ watermarkMs }) => watermarkMs ?? [])
    return {
      elapsedMs: nowMs - this.#startedMs,
      bridge: this.#has('bridge') ? { read, readPerSecond: rate('read', read), invalid } : null,
      process: tasks && { ...tasks, processedPerSecond: rate('processed', tasks.processed) },
      sink: this.#has('sink') ? { rows, rowsPerSecond: rate('rows', rows) } : null,
      sources: sources.map((source) => ({
        ...source,
        readPerSecond: rate(`source ${source.name}`, source.read),
      })),
      tables: tables.map((table) => ({
        ...table,
        writtenPerSecond: rate(`table ${table.name}`, table.written),
      })),
      lag,
      watermarkMs: watermarks.length === 0 ? null : Math.min(...watermarks),
      left: this.#left(figures, nowMs),
    }
  }

  /** Of the input where it is read here; else of what waits behind it. */
  #left({ sources, tasks, tables, lag }: RunFigures, nowMs: number): Left | null {
    const inputs = sources.flatMap(({ input }) => input ?? [])
    if (inputs.length > 0) return this.#leftOf(sumOfInputs(inputs), nowMs)
    if (!this.#isFinite || this.#has('bridge')) return null
    const done = tasks?.processed ?? tables.reduce((sum, { written }) => sum + written, 0)
    return done + lag === 0 ? null : this.#leftOf({ done, total: done + lag, unit: 'records' }, nowMs)
  }

  #leftOf(input: InputState, nowMs: number): Left {
    // Another unit: nothing that was measured holds.
    if (input.unit !== this.#unit) this.#meters.delete('left')
    this.#unit = input.unit
    const perSecond = this.#meter('left', LEFT_WINDOW_MS).add(nowMs, input.done)
    const open = input.total - input.done
    if (open <= 0) return { ...input, seconds: 0 }
    return { ...input, seconds: perSecond === null || perSecond === 0 ? null : open / perSecond }
  }

  #has(role: Role): boolean {
    return this.#roles.includes(role)
  }

  #meter(name: string, windowMs: number): Meter {
    const meter = this.#meters.get(name) ?? new Meter(windowMs)
    this.#meters.set(name, meter)
    return meter
  }
}

function sumOfInputs(inputs: readonly InputState[]): InputState {
  return {
    done: inputs.reduce((sum, { done }) => sum + done, 0),
    total: inputs.reduce((sum, { total }) => sum + total, 0),
    unit: inputs[0]!.unit,
  }
}
