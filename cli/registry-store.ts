import { BatchBuilder } from '../log/batch.ts'
import type { Log } from '../log/port.ts'
import type { RegistryEntry, RegistryStore } from '../schemas/registry.ts'

/** As Confluent's registry calls its own; one for all applications of a log. */
const TOPIC = '_schemas'
const PLACE = { topic: TOPIC, partition: 0 }
const READ_BYTES = 1 << 20

/** The embedded registry's entries in a compacted topic, so that log and schemas share one fate. */
export class TopicRegistryStore implements RegistryStore {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  async load(): Promise<RegistryEntry[]> {
    await this.#log.admin.createTopics([{ name: TOPIC, partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    const [offsets] = await this.#log.admin.offsets([PLACE])
    const reader = this.#log.partitionReader(PLACE, offsets!.start)
    const entries: RegistryEntry[] = []
    try {
      for (let batch = await reader.read(READ_BYTES); batch !== null; batch = await reader.read(READ_BYTES)) {
        for (let i = 0; i < batch.count; i++) {
          entries.push(JSON.parse(batch.valueAt(i)!.toString('utf8')) as RegistryEntry)
        }
      }
    } finally {
      await reader.close()
    }
    return entries
  }

  async append(entry: RegistryEntry): Promise<void> {
    const record = new BatchBuilder(TOPIC, 0)
    // Every registration is kept by compaction: a subject's history is what compatibility is judged by.
    record.append(Buffer.from(`${entry.subject}/${entry.id}`), Buffer.from(JSON.stringify(entry)))
    const producer = this.#log.idempotentProducer()
    try {
      await producer.send([record])
    } finally {
      await producer.close()
    }
  }
}
