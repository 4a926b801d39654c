import type { SubTopology } from '../topology/plan.ts'
import type { AssignedTask, OpenedTask } from './open.ts'
import { Opening, type OpeningDependencies } from './opening.ts'
import type { Task, TaskStart } from './task.ts'

/** The tasks of a process: those that run, those that are being opened, and those given up whose caches may still hold. */
export class TaskSet {
  readonly #create: (sub: SubTopology, partition: number, start: TaskStart) => Task
  readonly #running = new Map<string, Task>()
  /** Given up in good order at a revoke. */
  readonly #parked = new Map<string, Task>()
  #opening: Opening | null = null
  #isOpen = false

  constructor(create: (sub: SubTopology, partition: number, start: TaskStart) => Task) {
    this.#create = create
  }

  get running(): readonly Task[] {
    return [...this.#running.values()]
  }

  /** How many are brought up to their changelogs, and do not run yet. */
  get restoring(): number {
    return this.#opening?.restoring ?? 0
  }

  /** All that were to be opened run. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  get(id: string): Task | undefined {
    return this.#running.get(id)
  }

  /** Opens all tasks of a generation; `adopt` gives those that are ready. */
  async open(assigned: readonly AssignedTask[], dependencies: OpeningDependencies): Promise<void> {
    await this.letGo()
    if (assigned.length > 0) this.#opening = await Opening.begin(assigned, dependencies)
    else this.#allRun()
  }

  /**
   * Takes the tasks that became ready since the last call.
   * @returns them, and whether the position of one has to be committed before they run
   * @throws what ended the opening
   */
  async adopt(): Promise<{ readonly tasks: readonly Task[]; readonly mustCommit: boolean }> {
    const opening = this.#opening
    if (opening === null) return { tasks: [], mustCommit: false }
    if (opening.failure !== null) throw opening.failure as Error
    const opened = opening.takeReady()
    if (opening.restoring === 0) this.#opening = null
    const tasks: Task[] = []
    for (const ready of opened) tasks.push(await this.#take(ready))
    if (this.#opening === null) this.#allRun()
    return { tasks, mustCommit: opened.some(({ mustCommit }) => mustCommit) }
  }

  /** All is committed and applied: the caches hold until somebody else has had the tasks. */
  park(): void {
    for (const [id, task] of this.#running) this.#parked.set(id, task)
    this.#running.clear()
    this.#isOpen = false
  }

  /** Nothing of the tasks goes on; what they had not committed is gone. Parked ones stay. */
  async letGo(): Promise<void> {
    this.#isOpen = false
    await this.#opening?.cancel()
    this.#opening = null
    for (const task of this.#running.values()) task.dispose()
    this.#running.clear()
  }

  /** Parked ones go too. */
  async drop(): Promise<void> {
    await this.letGo()
    this.#disposeParked()
  }

  async #take({ id, sub, partition, start, mustCommit, unchangedSince }: OpenedTask): Promise<Task> {
    const parked = this.#parked.get(id)
    this.#parked.delete(id)
    let task: Task
    // Open step 4: caches hold where nobody had the state in between and nothing was applied to it.
    if (parked?.owner.token === unchangedSince && parked.position === start.position) {
      task = parked
      task.takeOver(start)
    } else {
      parked?.dispose()
      task = this.#create(sub, partition, start)
      await task.load()
    }
    if (mustCommit) task.markMoved()
    this.#running.set(id, task)
    return task
  }

  #allRun(): void {
    this.#isOpen = true
    this.#disposeParked()
  }

  #disposeParked(): void {
    for (const task of this.#parked.values()) task.dispose()
    this.#parked.clear()
  }
}
