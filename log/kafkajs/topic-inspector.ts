import { setTimeout as sleep } from 'node:timers/promises'
import { LogError } from '../errors.ts'
import { finalError } from './errors.ts'
import { KafkaProbe, type ProbeOptions } from './probe.ts'
import { alterConfigsRequest } from './requests/configs.ts'

/** The controller has a change at once; the brokers hear of it a little later. */
const HEARD_MS = 10_000
const HEARD_POLL_MS = 20

/** A topic as it is in Kafka. */
export interface TopicState {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  /** By Kafka's names. `isOwn`: set for this topic; else it is the brokers' default. */
  readonly settings: ReadonlyMap<string, { readonly value: string | null; readonly isOwn: boolean }>
}

const UNKNOWN_TOPIC = 3

/** Topics' settings, seen and changed: what the log's own admin has no need of. */
export class TopicInspector {
  readonly #probe: KafkaProbe

  constructor(probe: KafkaProbe) {
    this.#probe = probe
  }

  /** @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION */
  static async connect(options: ProbeOptions): Promise<TopicInspector> {
    return new TopicInspector(await KafkaProbe.connect(options))
  }

  get brokerCount(): number {
    return this.#probe.cluster.brokers.length
  }

  /**
   * In the order asked; null where there is no such topic.
   * @param settings whose values are wanted
   * @throws LogError UNAUTHORIZED
   */
  async describe(names: readonly string[], settings: readonly string[]): Promise<(TopicState | null)[]> {
    if (names.length === 0) return []
    const { topics } = await this.#probe.topics(names)
    const existing = topics.filter(({ errorCode }) => errorCode !== UNKNOWN_TOPIC)
    for (const { errorCode, name } of existing) {
      if (errorCode !== 0) throw finalError(errorCode, `Looking at topic ${name}`)
    }
    const configs = await this.#configsOf(
      existing.map(({ name }) => name),
      settings,
    )
    return names.map((name) => {
      const topic = existing.find((candidate) => candidate.name === name)
      if (topic === undefined) return null
      const { partitions } = topic
      const replicationFactor = Math.min(...partitions.map(({ replicas }) => replicas.length))
      return { name, partitions: partitions.length, replicationFactor, settings: configs.get(name)! }
    })
  }

  /** Changes the named settings, and waits until the broker that is asked has heard of them. @throws LogError */
  async change(
    topics: readonly { readonly name: string; readonly set: Readonly<Record<string, string>> }[],
  ): Promise<void> {
    if (topics.length === 0) return
    const request = alterConfigsRequest(
      topics.map(({ name, set }) => ({ type: 'topic' as const, name, set })),
    )
    for (const { name, errorCode, errorMessage } of await this.#probe.ask(request)) {
      if (errorCode !== 0) throw finalError(errorCode, `Changing topic ${name}${said(errorMessage)}`)
    }
    const endsAt = performance.now() + HEARD_MS
    for (const { name, set } of topics) {
      while (!(await this.#holds(name, set)) && performance.now() < endsAt) await sleep(HEARD_POLL_MS)
    }
  }

  async #holds(name: string, set: Readonly<Record<string, string>>): Promise<boolean> {
    const settings = (await this.#configsOf([name], Object.keys(set))).get(name)!
    return Object.entries(set).every(([key, value]) => settings.get(key)?.value === value)
  }

  close(): void {
    this.#probe.close()
  }

  async #configsOf(
    names: readonly string[],
    settings: readonly string[],
  ): Promise<Map<string, TopicState['settings']>> {
    const found = new Map<string, TopicState['settings']>()
    if (names.length === 0) return found
    const resources = names.map((name) => ({ type: 'topic' as const, name, names: settings }))
    for (const { name, errorCode, errorMessage, entries } of await this.#probe.configs(resources)) {
      if (errorCode !== 0)
        throw finalError(errorCode, `Reading the settings of topic ${name}${said(errorMessage)}`)
      found.set(name, new Map(entries.map((entry) => [entry.name, entry])))
    }
    for (const name of names) {
      if (!found.has(name))
        throw new LogError('UNAVAILABLE', `Kafka says nothing of the settings of topic ${name}`)
    }
    return found
  }
}

function said(message: string | null | undefined): string {
  return message === null || message === undefined || message === '' ? '' : ` ("${message}")`
}
