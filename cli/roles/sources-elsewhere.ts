import { setTimeout as sleep } from 'node:timers/promises'
import { decodeSourceRecord, partitionOfSource, sourcesTopic } from '../../bridge/positions.ts'
import type { Log, PartitionReader } from '../../log/port.ts'
import type { SourcesOutcome } from './roles.ts'

export interface SourcesElsewhereOptions {
  readonly log: Log
  readonly application: string
  /** Names of the pipeline's sources. */
  readonly sources: readonly string[]
  /** Whether it ends with them; else with the signal alone. */
  readonly finite: boolean
}

const POLL_MS = 250
const READ_BYTES = 1 << 20

/**
 * Stands for sources that other processes bridge. They have ended when a finite input was read to
 * its end and an end mark stands behind it (design §7); whoever writes it notes it for every source.
 */
export class SourcesElsewhere {
  readonly #options: SourcesElsewhereOptions
  readonly #stored = new Map<string, string>()

  constructor(options: SourcesElsewhereOptions) {
    this.#options = options
  }

  async run(signal: AbortSignal): Promise<{ readonly outcome: SourcesOutcome }> {
    const { finite } = this.#options
    const readers = finite ? await this.#open() : []
    try {
      while (!signal.aborted) {
        for (const reader of readers) await this.#read(reader)
        if (finite && this.#haveEnded()) return { outcome: 'ended' }
        await sleep(POLL_MS, undefined, { signal }).catch(() => undefined)
      }
      return { outcome: 'stopped' }
    } finally {
      for (const reader of readers) await reader.close()
    }
  }

  async #open(): Promise<PartitionReader[]> {
    const { log, application, sources } = this.#options
    const topic = sourcesTopic(application)
    const [description] = await log.admin.describeTopics([topic])
    const homes = new Set(sources.map((name) => partitionOfSource(name, description!.partitions)))
    const places = [...homes].map((partition) => ({ topic, partition }))
    const offsets = await log.admin.offsets(places)
    return places.map((place, i) => log.partitionReader(place, offsets[i]!.start))
  }

  async #read(reader: PartitionReader): Promise<void> {
    for (let batch = await reader.read(READ_BYTES); batch !== null; batch = await reader.read(READ_BYTES)) {
      for (let i = 0; i < batch.count; i++) {
        const [key, value] = [batch.keyAt(i), batch.valueAt(i)]
        if (key !== null && value !== null) this.#stored.set(key.toString('utf8'), value.toString('utf8'))
      }
    }
  }

  #haveEnded(): boolean {
    return this.#options.sources.every((name) => decodeSourceRecord(name, this.#stored).isEnded)
  }
}
