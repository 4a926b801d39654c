import type { Clock } from '../../../config/clock.ts'
import { StateError, type StateBackend, type StateMeta, type StateOwner, type TaskState } from '../port.ts'
import { RedisConnection, type ConnectionSettings } from './connection.ts'
import { inspect, type RedisFinding } from './doctor.ts'
import { lost } from './errors.ts'
import { TaskKeys } from './key-names.ts'
import { takeOverScript, unlinkIncarnationScript } from './scripts.ts'
import { Segments } from './segments.ts'
import { newStats, type RedisStats } from './stats.ts'
import { RedisTaskState, type TaskStateDependencies } from './task-state.ts'

const HELD_BY_ANOTHER = 0
const TAKEN = 1

export interface RedisStateOptions extends ConnectionSettings {
  /** The pipeline's application name: tasks of different ones do not meet. */
  readonly application: string
  /** Before every key, for a Redis that others use too; no braces. Default none. */
  readonly keyPrefix?: string
  readonly clock: Clock
}

/**
 * State in Redis (design §8): on one server, behind Sentinel, or on a cluster, where a task is a hash slot.
 * It is a copy of the changelogs and may be lost or go back at any moment: every script proves in the same atomic
 * call that token, incarnation and checkpoint are ours.
 */
export class RedisState implements StateBackend {
  readonly #connection: RedisConnection
  readonly #application: string
  readonly #keyPrefix: string
  readonly #stats: RedisStats
  readonly #dependencies: TaskStateDependencies
  readonly #report: (message: string) => void
  #hasSaidReplaced = false
  #looking: Promise<RedisFinding[]> | null = null
  readonly #unlinking = new Set<Promise<void>>()

  private constructor(connection: RedisConnection, stats: RedisStats, options: RedisStateOptions) {
    this.#connection = connection
    this.#application = options.application
    this.#keyPrefix = options.keyPrefix ?? ''
    this.#stats = stats
    this.#report = options.report ?? ((): void => undefined)
    this.#dependencies = {
      connection,
      segments: new Segments(),
      stats,
      clock: options.clock,
      unlink: (keys, incarnations) => {
        this.#unlink(keys, incarnations)
      },
    }
  }

  /**
   * Connects and tries what state needs of Redis.
   * @throws StateError STATE_UNAVAILABLE where it cannot be reached, refuses the user, evicts keys, is a replica
   *   or too old: the message says how to mend it
   */
  static async open(options: RedisStateOptions): Promise<RedisState> {
    const stats = newStats()
    const connection = new RedisConnection(options, stats)
    try {
      const state = new RedisState(connection, stats, options)
      await state.#assertFit()
      return state
    } catch (error) {
      connection.close()
      throw error
    }
  }

  /** Totals since it was opened. */
  stats(): Readonly<RedisStats> {
    return this.#stats
  }

  async takeOver(task: string, owner: StateOwner): Promise<TaskState> {
    await this.#assertFit()
    const keys = new TaskKeys(this.#keyPrefix, this.#application, task)
    const call = this.#connection.call().begin(takeOverScript, [keys.meta, keys.incarnations])
    call.text(owner.clusterId)
    call.text(owner.topicId)
    call.number(owner.token)
    const [status, fields, others] = (await this.#connection.run(call)) as [
      number,
      (Buffer | null)[],
      Buffer[],
    ]
    if (status === HELD_BY_ANOTHER) {
      this.#stats.lost++
      throw lost(task, owner, null, { changelog: 0, windows: 0 }, fields)
    }
    if (status !== TAKEN) this.#sayReplaced(fields[0]?.toString() ?? null, owner)
    if (status !== TAKEN) return new RedisTaskState(task, owner, keys, null, this.#dependencies)
    const [, , token, incarnation, changelog, windows, timeMs] = fields.map(String)
    const meta: StateMeta = {
      ...owner,
      token: Number(token),
      incarnation: incarnation!,
      checkpoint: { changelog: Number(changelog), windows: Number(windows) },
      timeMs: Number(timeMs),
    }
    this.#unlink(keys, others.map(String))
    return new RedisTaskState(task, owner, keys, { meta, taskRecord: fields[7]! }, this.#dependencies)
  }

  async close(): Promise<void> {
    await Promise.all(this.#unlinking)
    this.#connection.close()
  }

  /** Somebody who changed KAFKA_BROKERS by mistake should hear of it. */
  #sayReplaced(clusterId: string | null, owner: StateOwner): void {
    if (clusterId === null || clusterId === owner.clusterId || this.#hasSaidReplaced) return
    this.#hasSaidReplaced = true
    this.#report(
      `Redis (${this.#connection.address}) holds state of '${this.#application}' from another Kafka cluster ` +
        `(${clusterId}, and this is ${owner.clusterId}): it is replaced. Nothing is lost: each cluster's state is ` +
        'rebuilt from its own changelogs. Check KAFKA_BROKERS; where both are in use, give each a key prefix of its own.',
    )
  }

  /** Its settings may change at any time: an opening looks at them, once for all its tasks. */
  async #assertFit(): Promise<void> {
    this.#looking ??= inspect(this.#connection, {
      application: this.#application,
      keyPrefix: this.#keyPrefix,
    }).finally(() => (this.#looking = null))
    const refused = (await this.#looking).find((finding) => finding.refused)
    if (refused === undefined) return
    throw new StateError('STATE_UNAVAILABLE', `${refused.what} ${refused.mend ?? ''}`.trim())
  }

  /** In the background: nobody waits for an old copy to go, and what stays is found by the next opening. */
  #unlink(keys: TaskKeys, incarnations: readonly string[]): void {
    for (const incarnation of incarnations) {
      const call = this.#connection
        .call()
        .begin(unlinkIncarnationScript, [keys.meta, keys.incarnations, keys.copy(incarnation).segments])
      call.text(incarnation)
      const unlinking: Promise<void> = this.#connection.run(call).then(
        () => undefined,
        () => undefined,
      )
      this.#unlinking.add(unlinking)
      void unlinking.then(() => this.#unlinking.delete(unlinking))
    }
  }
}
