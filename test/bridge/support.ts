import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SourceNotice } from '../../bridge/errors.ts'
import type { SourceBinding } from '../../bridge/partition-owner.ts'
import { deadLettersTopic, sourcesTopic, sourcesTopicConfig } from '../../bridge/positions.ts'
import type { SourceInput } from '../../bridge/reader.ts'
import { openSources, type SourcesOptions, type SourcesSummary } from '../../bridge/sources.ts'
import { createMemoryLog, type EmbeddedLog } from '../../log/embedded/embedded-log.ts'
import type { Log, TopicPartition } from '../../log/port.ts'
import { contract } from '../../schemas/contract.ts'
import { deadLetterSchema, type DeadLetter } from '../../schemas/dead-letter.ts'
import { decodeMark, MARK_HEADER, type Mark } from '../../schemas/marks.ts'
import { double, optional, string, timestamp } from '../../schemas/schema.ts'
import { HEADER_BYTES } from '../../schemas/wire.ts'

export const APPLICATION = 'shop'
const TOPIC = 'shop.order-events'

export const order = contract(
  'Order',
  {
    order_id: string(),
    customer_id: string(),
    amount: double({ cast: 'text' }),
    status: optional(string()),
    country: optional(string()),
    timestamp: optional(timestamp()),
  },
  { id: ['order_id', 'status'], key: 'order_id', eventTime: 'timestamp', disorder: '1h' },
)

export async function newLog({ partitions = 4, homes = 4 } = {}): Promise<EmbeddedLog> {
  const log = await createMemoryLog()
  const kept = { partitions, cleanup: 'delete', retentionMs: -1 } as const
  await log.admin.createTopics([
    { name: TOPIC, ...kept },
    { name: deadLettersTopic(APPLICATION), ...kept },
    { name: sourcesTopic(APPLICATION), ...sourcesTopicConfig(homes) },
  ])
  return log
}

export function binding(input: SourceInput, name = 'orders', topic = TOPIC): SourceBinding {
  return { name, topic, contract: order, schemaId: 7, input }
}

export interface RunOptions extends Partial<Omit<SourcesOptions, 'log' | 'sources'>> {
  readonly log: Log
  readonly input: SourceInput
  readonly signal?: AbortSignal
  readonly notices?: SourceNotice[]
}

const started = new Set<AbortController>()

/** Ends the live runs that a failed test has left behind, so that they do not hold up the others. */
export function stopRuns(): void {
  for (const run of started) run.abort()
  started.clear()
}

/** One run of a single source, finite unless told otherwise. */
export async function run({ log, input, signal, notices, ...options }: RunOptions): Promise<SourcesSummary> {
  const abandoned = new AbortController()
  started.add(abandoned)
  const sources = await openSources({
    log,
    application: APPLICATION,
    sources: [binding(input)],
    deadLetterSchemaId: 3,
    finite: true,
    backoffMs: 1,
    notice: (notice) => notices?.push(notice),
    ...options,
  })
  return sources.run(signal === undefined ? abandoned.signal : AbortSignal.any([signal, abandoned.signal]))
}

/** A data record as it was read back from the log. */
export interface Written {
  readonly partition: number
  readonly key: string
  readonly eventTimeMs: number
  readonly watermarkMs: number | null
  readonly value: Record<string, unknown>
}

export interface Contents {
  readonly records: Written[]
  /** By partition, in order. */
  readonly marks: Mark[][]
}

export async function readTopic(log: Log, topic = TOPIC): Promise<Contents> {
  const [description] = await log.admin.describeTopics([topic])
  const records: Written[] = []
  const marks: Mark[][] = []
  const view = order.sourceView()
  for (let partition = 0; partition < description!.partitions; partition++) {
    const here: Mark[] = []
    marks.push(here)
    await forEachRecord(log, { topic, partition }, (key, value, isMark) => {
      if (isMark) {
        here.push(decodeMark(value))
        return
      }
      const found = view.$wrap(value, HEADER_BYTES, value.length)
      records.push({
        partition,
        key: key!.toString(),
        eventTimeMs: found.$eventTimeMs,
        watermarkMs: found.$watermarkMs === -Infinity ? null : found.$watermarkMs,
        value: found.toObject(),
      })
    })
  }
  return { records, marks }
}

export async function readDeadLetters(log: Log): Promise<DeadLetter[]> {
  const topic = deadLettersTopic(APPLICATION)
  const [description] = await log.admin.describeTopics([topic])
  const letters: DeadLetter[] = []
  for (let partition = 0; partition < description!.partitions; partition++) {
    await forEachRecord(log, { topic, partition }, (_, value) => {
      const letter = deadLetterSchema.decode(value, HEADER_BYTES, value.length)
      letters.push({ ...letter, payload: Buffer.from(letter.payload) })
    })
  }
  return letters.sort((a, b) => a.position - b.position)
}

async function forEachRecord(
  log: Log,
  place: TopicPartition,
  take: (key: Buffer | null, value: Buffer, isMark: boolean) => void,
): Promise<void> {
  const [offsets] = await log.admin.offsets([place])
  const reader = log.partitionReader(place, offsets!.start)
  for (;;) {
    const batch = await reader.read(1 << 20)
    if (batch === null) break
    for (let i = 0; i < batch.count; i++) {
      take(batch.keyAt(i), batch.valueAt(i)!, batch.headerAt(i, MARK_HEADER) !== undefined)
    }
  }
  await reader.close()
}

/** A directory of the test's own; remove it with `remove`. */
export class Scratch {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<Scratch> {
    return new Scratch(await mkdtemp(join(tmpdir(), 'millrace-bridge-')))
  }

  async file(name: string, content: string | Uint8Array): Promise<string> {
    const path = join(this.path, name)
    await writeFile(path, content)
    return path
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

export const START_MS = Date.UTC(2024, 4, 1)

/** An order of that minute after {@link START_MS} as its JSON line. */
export function orderLine(id: number, minute: number): string {
  const timestamp = new Date(START_MS + minute * 60_000).toISOString()
  return JSON.stringify({ order_id: `o-${id}`, customer_id: `c-${id % 7}`, amount: id + 0.25, timestamp })
}
