import {
  claimTasks,
  resolvePositions,
  type AssignedTask,
  type Claim,
  type OpenDependencies,
  type OpenedTask,
} from './open.ts'
import type { WorkerEvents } from './events.ts'
import { lookAtEnds, offsetsToRestore, restoreTask, type RestoreEnds } from './restore.ts'

/** Tasks restored at a time, behind those that run. */
const RESTORES_AT_ONCE = 4

export interface OpeningDependencies extends OpenDependencies {
  readonly events: WorkerEvents
  readonly report: (message: string) => void
  /** A task with no more to restore than this is opened before its group goes on. */
  readonly inlineRecords: number
  /** Of rows that were read and are not applied yet, of all restores at once. */
  readonly restoreBytes: number
  /** Called when `takeReady` has something new, or `failure` is set. */
  readonly onChange: () => void
}

/**
 * The opening of all tasks of one generation (design §6). Tasks with little to restore are ready
 * when `begin` resolves; the others become ready later, while the first ones run.
 */
export class Opening {
  readonly #dependencies: OpeningDependencies
  readonly #cancelled = new AbortController()
  #ready: OpenedTask[] = []
  #background: Promise<unknown> = Promise.resolve()
  #unopened = 0
  #failure: unknown = null

  private constructor(dependencies: OpeningDependencies) {
    this.#dependencies = dependencies
  }

  /** @throws LogError, StateError, ProcessorError: nothing is ready then */
  static async begin(assigned: readonly AssignedTask[], dependencies: OpeningDependencies): Promise<Opening> {
    const opening = new Opening(dependencies)
    const claims = await claimTasks(assigned, dependencies)
    const ends = await lookAtEnds(claims, dependencies.log)
    const inline: [Claim, RestoreEnds][] = []
    const background: [Claim, RestoreEnds][] = []
    for (const [i, claim] of claims.entries()) {
      const isInline = ends[i]!.isStable && offsetsToRestore(claim, ends[i]!) <= dependencies.inlineRecords
      ;(isInline ? inline : background).push([claim, ends[i]!])
    }
    opening.#unopened = background.length
    if (inline.length > 0) await opening.#restore(inline)
    opening.#background = opening.#restoreBehind(background)
    return opening
  }

  /** Tasks that are not ready yet. */
  get restoring(): number {
    return this.#unopened
  }

  /** What ended the tasks that were not ready yet; null: nothing so far. */
  get failure(): unknown {
    return this.#failure
  }

  /** The tasks that became ready since the last call. */
  takeReady(): OpenedTask[] {
    const ready = this.#ready
    this.#ready = []
    return ready
  }

  /** Gives up what is not ready, and waits until nothing goes on behind. What was restored stays. */
  async cancel(): Promise<void> {
    this.#cancelled.abort()
    await this.#background
  }

  /** Steps 4 and 5. */
  async #restore(tasks: readonly [Claim, RestoreEnds][]): Promise<void> {
    const { log, clock, timer, events, onStep, report, restoreBytes } = this.#dependencies
    const maxRowsBytes = restoreBytes / Math.max(RESTORES_AT_ONCE, tasks.length)
    const beganMs = clock.nowMs()
    const settled = await Promise.allSettled(
      tasks.map(async ([claim, ends]) => {
        const restored = await restoreTask(claim, ends, {
          log,
          clock,
          timer,
          signal: this.#cancelled.signal,
          maxRowsBytes,
          report,
          onProgress: ({ id }, applied, total) => events.restoring?.({ task: id, applied, total }),
        })
        if (restored.applied > 0) {
          const durationMs = clock.nowMs() - beganMs
          events.restored?.({ task: claim.id, records: restored.applied, durationMs })
        }
        return { claim, restored }
      }),
    )
    const restored = settled.map((result) => {
      if (result.status === 'rejected') throw result.reason
      return result.value
    })
    onStep('open.4')
    const opened = await resolvePositions(restored, log)
    onStep('open.5')
    this.#ready.push(...opened)
  }

  async #restoreBehind(waiting: [Claim, RestoreEnds][]): Promise<void> {
    const next = async (): Promise<void> => {
      for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
        await this.#restore([task])
        this.#unopened--
        this.#dependencies.onChange()
      }
    }
    try {
      await Promise.all(Array.from({ length: RESTORES_AT_ONCE }, next))
    } catch (error) {
      const isFirst = !this.#cancelled.signal.aborted
      this.#cancelled.abort()
      if (!isFirst) return
      this.#failure = error
      this.#dependencies.onChange()
    }
  }
}
