/** What a run is doing, as it can be shown: for the view, the lines and the summary. */
import type { Task } from '../../processor/runtime/task.ts'

export interface RunFigures {
  /** By this run, invalid ones included. */
  readonly read: number
  readonly invalid: number
  readonly behindWatermark: number
  /** Records on their way, at the last look. */
  readonly lag: number
  readonly sources: readonly SourceState[]
  readonly tables: readonly TableState[]
  /** null: this process has none. */
  readonly tasks: TasksState | null
  /** Totals of the whole life of this process' tasks, by node and what is counted: `metrics.closed`. */
  readonly totals: ReadonlyMap<string, number>
}

export interface SourceState {
  readonly name: string
  readonly read: number
  readonly invalid: number
  /** Nothing earlier is outstanding, epoch ms: as its writer promises, or as those who process it have seen. */
  readonly watermarkMs: number | null
  /** Offsets of its topic that are not yet processed. */
  readonly lag: number
  /** null: it has no end, or another process reads it. */
  readonly input: InputState | null
}

export interface InputState {
  readonly done: number
  readonly total: number
  readonly unit: 'bytes' | 'records'
}

export interface TableState {
  readonly name: string
  /** By this run. */
  readonly written: number
  readonly lag: number
}

export interface TasksState {
  readonly open: number
  readonly restoring: number
  /** Since this process has them. */
  readonly processed: number
  readonly closed: number
  readonly late: number
  readonly duplicates: number
  readonly refused: number
}

/** What tasks have counted here, those that have left among them. */
export class TaskGains {
  readonly #left = new Map<string, number>()
  #present = new Map<Task, ReadonlyMap<string, number>>()

  look(tasks: readonly Task[]): void {
    const present = new Map(tasks.map((task) => [task, task.counters.gained()]))
    for (const [task, gained] of this.#present) if (!present.has(task)) addTo(this.#left, gained)
    this.#present = present
  }

  /** By `<node>.<what is counted>`. */
  totals(): Map<string, number> {
    const totals = new Map(this.#left)
    for (const gained of this.#present.values()) addTo(totals, gained)
    return totals
  }
}

/** The sum of all nodes' counters of a kind. */
export function sumOf(
  totals: ReadonlyMap<string, number>,
  kind: string,
  isWanted: (node: string) => boolean = () => true,
): number {
  let sum = 0
  for (const [name, count] of totals) {
    const dot = name.lastIndexOf('.')
    if (name.slice(dot + 1) === kind && isWanted(name.slice(0, dot))) sum += count
  }
  return sum
}

function addTo(totals: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [name, count] of more) totals.set(name, (totals.get(name) ?? 0) + count)
}
