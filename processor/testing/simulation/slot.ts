import type { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { connect } from '../../../log/simulated/simulated-log.ts'
import type { ProtocolStep } from '../../runtime/protocol.ts'
import { Worker } from '../../runtime/worker.ts'
import type { Plan } from '../../topology/plan.ts'
import { schemaIdsOf } from './pipelines.ts'
import { SimulatedProcess } from './process.ts'
import { SimulatedRedisState } from './redis-state.ts'
import type { SimulatedRedis } from './redis-server.ts'
import type { Scenario } from './scenario.ts'
import type { Scheduler } from './scheduler.ts'

/** Shorter than in real life, in proportion, so that few events pass while nothing happens. */
const SETTINGS = {
  heartbeatMs: 800,
  sessionTimeoutMs: 3_000,
  rebalanceTimeoutMs: 10_000,
  transactionTimeoutMs: 3_000,
}

export interface SlotDependencies {
  /** Counts what the run meets. */
  readonly meet: (what: string) => void
  readonly scheduler: Scheduler
  readonly cluster: SimulatedCluster
  readonly redis: SimulatedRedis
  readonly plan: Plan
  readonly scenario: Scenario
  /** Told when a worker ends by an error that it does not mend itself. */
  readonly onFailure: (slot: Slot, error: unknown, isCurrent: boolean) => void
}

interface Armed {
  readonly step: ProtocolStep
  readonly act: () => void
}

/** A place where one process runs at a time; the ones before it may still be there, stopped. */
export class Slot {
  readonly index: number
  readonly #dependencies: SlotDependencies
  #process: SimulatedProcess | null = null
  #worker: Worker | null = null
  #stopping = new AbortController()
  #starts = 0
  #armed: Armed | null = null

  constructor(index: number, dependencies: SlotDependencies) {
    this.index = index
    this.#dependencies = dependencies
  }

  get process(): SimulatedProcess | null {
    return this.#process
  }

  /** Starts the real worker, in a process of its own. */
  start(): void {
    const { scheduler } = this.#dependencies
    const process = new SimulatedProcess(`p${this.index}.${++this.#starts}`, scheduler)
    const stopping = new AbortController()
    this.#process = process
    this.#stopping = stopping
    this.#armed = null
    scheduler.note(`${process.name} starts`)
    process.go(() => this.#run(process, stopping.signal))
  }

  #run(process: SimulatedProcess, signal: AbortSignal): void {
    const { scheduler, cluster, redis, plan, scenario, meet } = this.#dependencies
    const worker = new Worker({
      log: connect(cluster, process, {
        ...SETTINGS,
        retries: scenario.retries,
        joinsFirst: scenario.joinsFirst,
      }),
      state: new SimulatedRedisState(redis, process, { chunkRows: scenario.chunkRows }),
      plan,
      schemaIds: schemaIdsOf(plan),
      instance: scenario.keepsInstance ? `slot-${this.index}` : process.name,
      clock: process,
      timer: process,
      random: () => process.random(),
      ...scenario.worker,
      onStep: (step) => {
        if (scheduler.onEvent !== null) scheduler.note(`${process.name} has done ${step}`)
        if (this.#process !== process || this.#armed?.step !== step) return
        const { act } = this.#armed
        this.#armed = null
        act()
      },
      events: {
        reopening: ({ code }) => meet(`opened again after ${code}`),
        restored: () => meet('state restored'),
      },
      report: (message) => scheduler.note(`${process.name}: ${message}`),
    })
    this.#worker = worker
    worker.run(signal).then(
      () => this.#ended(process),
      (error: unknown) => {
        const wasAlive = process.isAlive
        const isCurrent = this.#process === process
        scheduler.note(`${process.name} ends: ${String(error)}`)
        this.#ended(process)
        if (wasAlive) this.#dependencies.onFailure(this, error, isCurrent)
      },
    )
  }

  kill(): void {
    this.#process?.kill()
    this.#process = null
    this.#armed = null
  }

  /** Stops in good order; `then` is called when it has ended. */
  stop(): void {
    const stopping = this.#stopping
    this.#process?.go(() => stopping.abort())
  }

  /** Leaves the process that runs here to itself. @returns it, where there was one */
  abandon(): SimulatedProcess | null {
    const process = this.#process
    this.#process = null
    this.#worker = null
    this.#armed = null
    return process
  }

  get isRunning(): boolean {
    return this.#process !== null
  }

  /** All of its tasks run. */
  get isReady(): boolean {
    return this.#worker !== null && this.#process !== null && this.#worker.isReady
  }

  /** Does something when the process has next done a step. */
  arm(step: ProtocolStep, act: () => void): void {
    if (this.#process !== null) this.#armed = { step, act }
  }

  #ended(process: SimulatedProcess): void {
    process.kill()
    if (this.#process === process) this.#process = null
  }
}
