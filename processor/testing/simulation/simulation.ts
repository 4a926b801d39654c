import { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import { ProcessorError } from '../../runtime/errors.ts'
import { processGroupId } from '../../runtime/lag.ts'
import { Checker } from './checker.ts'
import { planOf, sourceTopicOf } from './pipelines.ts'
import { Random } from './random.ts'
import type { SimulatedProcess } from './process.ts'
import { actualOutputs, type Outputs } from './reference.ts'
import { SimulatedRedis } from './redis-server.ts'
import type { Fault, Scenario } from './scenario.ts'
import { CALM, Scheduler } from './scheduler.ts'
import { batchesOf, EVENT_START_MS, makeScript } from './script.ts'
import { Slot } from './slot.ts'

export interface SimulationResult {
  readonly scenario: Scenario
  /** Empty: everything held. */
  readonly violations: readonly string[]
  readonly events: number
  readonly virtualMs: number
  readonly outputs: Outputs
  /** How often faults were inflicted, and how often workers opened again, by kind. */
  readonly met: ReadonlyMap<string, number>
}

export interface SimulationOptions {
  /** Told of every event, in order. */
  readonly onEvent?: (line: string) => void
}

const START_MS = EVENT_START_MS + 3_600_000
/** Faults may last this long behind the script. */
const TROUBLE_MS = 2_000
/** Once nothing goes wrong any more, all has to be done in this time: time-outs, restores and all. */
const PROGRESS_MS = 90_000
const LOOK_EVERY_MS = 400
/** Quiet for so long: what is to come twice has come. */
const QUIET_LOOKS = 3
const RESTART_MS = 300
const COMPACT_EVERY_MS = 400

/** Runs the real workers of a scenario, and says what of the guarantees did not hold. */
export function simulate(scenario: Scenario, options: SimulationOptions = {}): Promise<SimulationResult> {
  return new Simulation(scenario, options).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #scheduler: Scheduler
  readonly #cluster: SimulatedCluster
  readonly #redis = new SimulatedRedis()
  readonly #plan
  readonly #checker: Checker
  readonly #slots: Slot[]
  readonly #violations: string[] = []
  #snapshots = 0
  #isCalm = false
  #quietLooks = 0
  #isLongStop = false
  readonly #met = new Map<string, number>()
  /** Replaced while they were stopped; they go on as if nothing had been. */
  readonly #abandoned: SimulatedProcess[] = []
  #hasStopped = false

  constructor(scenario: Scenario, { onEvent }: SimulationOptions) {
    this.#scenario = scenario
    this.#scheduler = new Scheduler(new Random(scenario.scheduleSeed), scenario.weather, START_MS)
    this.#scheduler.onEvent = onEvent ?? null
    this.#cluster = new SimulatedCluster(this.#scheduler, scenario)
    this.#plan = planOf(scenario.pipeline, scenario.script.partitions)
    this.#checker = new Checker(this.#cluster, this.#redis, this.#plan)
    this.#redis.onMeta = (task, meta, before) => {
      const violated = this.#checker.metaChanged(task, meta, before)
      if (violated !== null) this.#violate(violated)
    }
    this.#cluster.createTopics(this.#plan.topics)
    this.#slots = Array.from(
      { length: scenario.processes },
      (_, index) =>
        new Slot(index, {
          scheduler: this.#scheduler,
          cluster: this.#cluster,
          redis: this.#redis,
          plan: this.#plan,
          scenario,
          meet: (what) => this.#meet(what),
          onFailure: (slot, error, isCurrent) => this.#failed(slot, error, isCurrent),
        }),
    )
  }

  async run(): Promise<SimulationResult> {
    const { script, faults } = this.#scenario
    if (this.#scenario.hasForeignState) this.#leaveForeignState()
    if (this.#scenario.compacts) this.#compact()
    for (const step of makeScript(new Random(this.#scenario.scriptSeed), script)) {
      this.#at(step.atMs, 'the source writes', () => this.#cluster.append(batchesOf(step, this.#plan)))
    }
    for (const slot of this.#slots) this.#at(slot.index * 20, `start ${slot.index}`, () => slot.start())
    for (const fault of faults) this.#at(fault.atMs, `fault: ${fault.kind}`, () => this.#inflict(fault))
    const calmMs = script.durationMs + TROUBLE_MS
    this.#at(calmMs, 'all is calm from here on', () => this.#becomeCalm())
    const untilMs = START_MS + calmMs + PROGRESS_MS
    await this.#scheduler.run(() => this.#isOver, untilMs)
    const virtualMs = this.#scheduler.nowMs() - START_MS
    if (!this.#isOver) {
      this.#violate(`not everything was processed within ${PROGRESS_MS} ms after the last fault`)
    }
    for (const slot of this.#slots) slot.kill()
    for (const process of this.#abandoned) process.kill()
    if (this.#hasStopped || this.#scenario.expectedStop !== null) {
      if (!this.#hasStopped) this.#violate(`no process ended with ${this.#scenario.expectedStop!}`)
    } else if (this.#violations.length === 0) {
      const isUntroubled = faults.length === 0 && this.#scenario.weather.slowChance === 0
      for (const found of this.#checker.finished(isUntroubled)) this.#violate(found)
    }
    return {
      scenario: this.#scenario,
      violations: this.#violations,
      events: this.#scheduler.events,
      virtualMs,
      outputs: actualOutputs(this.#cluster, this.#plan),
      met: this.#met,
    }
  }

  /** As a cluster leaves it that stood behind the same address before. */
  #leaveForeignState(): void {
    for (const { name, partitions } of this.#plan.subTopologies) {
      for (let partition = 0; partition < partitions; partition++) {
        const owner = { clusterId: 'another', topicId: 'another', token: 1_000_000 }
        this.#redis.newIncarnation(`${name}_${partition}`, owner, START_MS)
      }
    }
    this.#snapshots++
    this.#redis.snapshot()
  }

  get #isOver(): boolean {
    return this.#violations.length > 0 || this.#quietLooks >= QUIET_LOOKS || this.#hasStopped
  }

  #at(ms: number, what: string, run: () => void): void {
    this.#scheduler.after(START_MS + ms - this.#scheduler.nowMs(), what, run)
  }

  #meet(what: string): void {
    this.#met.set(what, (this.#met.get(what) ?? 0) + 1)
  }

  #violate(what: string): void {
    this.#scheduler.note(`VIOLATED: ${what}`)
    this.#violations.push(what)
  }

  #inflict(fault: Fault): void {
    if (this.#isCalm) return
    this.#meet(`fault: ${fault.kind}`)
    if ('process' in fault) {
      this.#inflictOnProcess(fault)
      return
    }
    switch (fault.kind) {
      case 'state snapshot':
        this.#snapshots++
        this.#redis.snapshot()
        break
      case 'state failover':
        this.#redis.failOver(this.#snapshots - fault.back)
        break
      case 'state flush':
        this.#redis.flush()
        break
      case 'state away':
        this.#redis.away = fault.from
        this.#scheduler.after(fault.forMs, 'the state is back', () => (this.#redis.away = 'nobody'))
        break
      case 'long stop':
        this.#stopLong(fault.forMs, fault.pastRetention)
        break
    }
  }

  #inflictOnProcess(fault: Extract<Fault, { process: number }>): void {
    const slot = this.#slots[fault.process % this.#slots.length]!
    switch (fault.kind) {
      case 'kill':
        this.#kill(slot, fault.restartMs)
        break
      case 'kill at':
        slot.arm(fault.step, () => this.#kill(slot, fault.restartMs))
        break
      case 'pause':
        this.#pause(slot, fault.forMs)
        break
      case 'pause at':
        slot.arm(fault.step, () => this.#pause(slot, fault.forMs))
        break
      case 'replace': {
        this.#pause(slot, fault.forMs)
        const replaced = slot.abandon()
        if (replaced !== null) this.#abandoned.push(replaced)
        this.#startLater(slot, fault.restartMs)
        break
      }
      case 'restart':
        slot.stop()
        this.#startLater(slot, fault.restartMs)
        break
    }
  }

  #kill(slot: Slot, restartMs: number): void {
    if (!slot.isRunning) return
    slot.kill()
    this.#startLater(slot, restartMs)
  }

  #pause(slot: Slot, forMs: number): void {
    const { process } = slot
    if (process === null || this.#isCalm) return
    process.pause()
    this.#scheduler.after(forMs, `${process.name} is let go`, () => process.resume())
  }

  /** As often as it takes until the one before it has ended. */
  #startLater(slot: Slot, ms: number): void {
    this.#scheduler.after(ms, `start of ${slot.index} is due`, () => {
      if (this.#isLongStop) return
      if (slot.isRunning) this.#startLater(slot, RESTART_MS)
      else slot.start()
    })
  }

  #failed(slot: Slot, error: unknown, isCurrent: boolean): void {
    if (error instanceof ProcessorError && error.code === this.#scenario.expectedStop) {
      this.#hasStopped = true
      return
    }
    // Two that run under one instance id stop each other, and say so; nobody else does.
    const mayHappen =
      error instanceof ProcessorError && error.code === 'INSTANCE_SHARED' && this.#abandoned.length > 0
    if (mayHappen) {
      this.#meet('ended by INSTANCE_SHARED')
      if (isCurrent) this.#startLater(slot, RESTART_MS)
    } else {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#violate(`process ${slot.index} ended: ${text}`)
    }
  }

  #compact(): void {
    if (this.#isCalm) return
    this.#scheduler.after(COMPACT_EVERY_MS, 'the cleaner', () => this.#compact())
    for (const { config, partitions } of this.#cluster.topics) {
      if (config.cleanup !== 'delete') for (const partition of partitions) partition.compact()
    }
  }

  /** All processes end, and the group's offsets go, as they do when it has been empty for days. */
  #stopLong(forMs: number, pastRetention: boolean): void {
    for (const slot of this.#slots) slot.kill()
    for (const process of this.#abandoned) process.kill()
    this.#isLongStop = true
    this.#scheduler.after(forMs, 'the group has been empty for longer than its offsets are kept', () => {
      this.#cluster.group(processGroupId(this.#plan.application)).expireOffsets()
      if (pastRetention) {
        const { partitions } = this.#cluster.topic(sourceTopicOf(this.#plan))!
        for (const partition of partitions) partition.deleteBefore(partition.end)
      }
      this.#isLongStop = false
      for (const slot of this.#slots) if (!slot.isRunning) slot.start()
    })
  }

  #becomeCalm(): void {
    this.#isCalm = true
    this.#scheduler.weather = CALM
    this.#redis.away = 'nobody'
    for (const process of this.#abandoned) process.resume()
    for (const slot of this.#slots) {
      slot.process?.resume()
      if (!slot.isRunning) this.#startLater(slot, 0)
    }
    this.#look()
  }

  #look(): void {
    this.#scheduler.after(LOOK_EVERY_MS, 'look whether all is done', () => {
      const isDone = this.#slots.every(({ isReady }) => isReady) && this.#checker.isQuiet
      this.#quietLooks = isDone ? this.#quietLooks + 1 : 0
      if (this.#quietLooks < QUIET_LOOKS) this.#look()
    })
  }
}
