import { randomUUID } from 'node:crypto'
import { BatchBuilder } from '../log/batch.ts'
import type { Log } from '../log/port.ts'
import { readUntil } from '../log/read-until.ts'
import { Overtaken, RegistryError, type RegistryEntry, type RegistryStore } from '../schemas/registry.ts'

/** One for all applications of a log. Not `_schemas`, which a real registry on the same cluster calls its own. */
export const REGISTRY_TOPIC = '_millrace-schemas'
const PLACE = { topic: REGISTRY_TOPIC, partition: 0 }

interface StoredEntry extends RegistryEntry {
  /** How many entries its writer knew. Absent where one process had the log to itself. */
  readonly after?: number
}

/**
 * The registrations in a compacted topic, so that log and schemas share one fate. Any number of processes
 * append to it, and all read the same out of it: an entry counts if, and only if, its writer knew every entry
 * that counts before it. So of two that judged at the same time (the next free id, the latest of a subject)
 * the first in the log has it, and the other judges again.
 */
export class TopicRegistryStore implements RegistryStore {
  readonly #log: Log
  readonly #entries: RegistryEntry[] = []
  /** Where the next look begins; null: nobody has looked. */
  #position: number | null = null
  /** One look at the topic after the other: each goes on where the last one ended. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(log: Log) {
    this.#log = log
  }

  load(): Promise<RegistryEntry[]> {
    return this.#inTurn(async () => {
      await this.#read()
      return [...this.#entries]
    })
  }

  append(entry: RegistryEntry): Promise<void> {
    return this.#inTurn(async () => {
      const stored: StoredEntry = { ...entry, after: this.#entries.length }
      const record = new BatchBuilder(REGISTRY_TOPIC, 0)
      // A key that never comes back: compaction must not take, or move, what the order was decided by.
      record.append(
        Buffer.from(`${entry.subject}/${entry.id}/${randomUUID()}`),
        Buffer.from(JSON.stringify(stored)),
      )
      const producer = this.#log.idempotentProducer()
      try {
        const [offset] = await producer.send([record])
        if (!(await this.#read(offset))) throw new Overtaken()
      } finally {
        await producer.close()
      }
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** Reads on to the end as it is now. @returns whether the entry at `own`, which is waited for, counts */
  async #read(own = -1): Promise<boolean> {
    const { admin } = this.#log
    if (this.#position === null) {
      await admin.createTopics([{ name: REGISTRY_TOPIC, partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    }
    const [offsets] = await admin.offsets([PLACE])
    // Its own entry was acknowledged a moment ago, and is about to be seen.
    const end = Math.max(offsets!.stable, own + 1)
    let counts = false
    await readUntil(this.#log, PLACE, { from: this.#position ?? offsets!.start, end }, (batch) => {
      for (let i = 0; i < batch.count; i++) {
        const offset = batch.offsetAt(i)
        if (this.#take(batch.valueAt(i), offset) && offset === own) counts = true
        this.#position = offset + 1
      }
    })
    return counts
  }

  /** @returns whether the entry counts */
  #take(value: Buffer | null, offset: number): boolean {
    const { after, ...entry } = entryOf(value, offset)
    if (after !== undefined && after !== this.#entries.length) return false
    this.#entries.push(entry)
    return true
  }
}

function entryOf(value: Buffer | null, offset: number): StoredEntry {
  try {
    if (value !== null) return JSON.parse(value.toString('utf8')) as StoredEntry
  } catch {
    // Told below.
  }
  throw new RegistryError(
    'REGISTRY_REFUSED',
    `Topic ${REGISTRY_TOPIC} holds something at offset ${offset} that Millrace did not write, so no schema can be ` +
      `told for sure. Find out who writes there; nothing is written until the record is gone.`,
  )
}
