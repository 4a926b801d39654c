import { BatchBuilder } from '../../log/batch.ts'
import { createMemoryLog } from '../../log/embedded/embedded-log.ts'
import { partitionsOf } from '../../log/partitions.ts'
import type { Log, TransactionalProducer } from '../../log/port.ts'
import { deadLetterSchema, type DeadLetter } from '../../schemas/dead-letter.ts'
import type { TableDefinition } from '../../schemas/destinations.ts'
import { encodeMark, MARK_HEADERS } from '../../schemas/marks.ts'
import { EmbeddedRegistry, type RegistryEntry } from '../../schemas/registry.ts'
import type { Input, Schema } from '../../schemas/schema.ts'
import { HEADER_BYTES, writeHeader } from '../../schemas/wire.ts'
import type { Sink } from '../../sinks/port.ts'
import { SinkRunner, type SinkEvent, type SinkRunnerOptions } from '../../sinks/runner.ts'

const APPLICATION = 'shop'
export const TOPIC = 'shop.things'
export const DEAD_LETTERS = 'shop.dead-letters'

export function tableOf<T>(schema: Schema<T>, options: Partial<TableDefinition> = {}): TableDefinition {
  return {
    name: 'data.things',
    schema: schema as unknown as Schema,
    clusterBy: [],
    descriptions: {},
    ...options,
  }
}

/** A log with one topic to be written to a table, and what a pipeline would do to it. */
export class SinkBench {
  readonly log: Log
  readonly registry: EmbeddedRegistry
  readonly events: SinkEvent[] = []
  readonly partitions: number
  readonly #runs: { readonly runner: SinkRunner; readonly done: Promise<void> }[] = []

  private constructor(log: Log, partitions: number) {
    this.log = log
    this.partitions = partitions
    const entries: RegistryEntry[] = []
    this.registry = new EmbeddedRegistry({
      load: () => Promise.resolve([...entries]),
      append: async (entry) => void entries.push(entry),
    })
  }

  static async create(partitions = 1, log?: Log): Promise<SinkBench> {
    const bench = new SinkBench(log ?? (await createMemoryLog()), partitions)
    await bench.log.admin.createTopics(
      [TOPIC, DEAD_LETTERS].map((name) => ({
        name,
        partitions,
        cleanup: 'delete' as const,
        retentionMs: -1,
      })),
    )
    return bench
  }

  schemaId<T>(schema: Schema<T>): Promise<number> {
    // A subject each: the table is to cope with schemas that one subject would not take.
    return this.registry.register(`${TOPIC}: ${schema.avroText}`, schema.avroText)
  }

  /** Appends rows of a schema to a partition. */
  async produce<T>(schema: Schema<T>, rows: readonly Input<T>[], partition = 0): Promise<void> {
    const id = await this.schemaId(schema)
    const builder = new BatchBuilder(TOPIC, partition)
    for (const row of rows) {
      builder.beginKey()
      builder.beginValue(true)
      writeHeader(builder.writer, id)
      schema.encode(builder.writer, row)
      builder.end()
    }
    await this.#send(builder)
  }

  /** Appends a value as it is. */
  async produceRaw(value: Uint8Array | null, partition = 0): Promise<void> {
    const builder = new BatchBuilder(TOPIC, partition)
    builder.append(null, value)
    await this.#send(builder)
  }

  async produceMark(partition = 0): Promise<void> {
    const builder = new BatchBuilder(TOPIC, partition)
    builder.append(null, encodeMark({ kind: 'end', e: 1 }), MARK_HEADERS)
    await this.#send(builder)
  }

  /** A runner of its own, not started. */
  runner(sink: Sink, options: Partial<SinkRunnerOptions> = {}): SinkRunner {
    return new SinkRunner({
      log: this.log,
      registry: this.registry,
      sink,
      application: APPLICATION,
      pipeline: 'things',
      topic: TOPIC,
      instance: 'one',
      report: (event) => this.events.push(event),
      maxDelayMs: 5,
      initialBackoffMs: 1,
      maxBackoffMs: 5,
      ...options,
    })
  }

  /** Starts a runner; what ends it is thrown by `stop` and `failureOf`. */
  start(sink: Sink, options: Partial<SinkRunnerOptions> = {}): SinkRunner {
    const runner = this.runner(sink, options)
    const done = runner.run()
    done.catch(() => undefined)
    this.#runs.push({ runner, done })
    return runner
  }

  /** Until all that is in the topic now is durable. */
  async drained(runner: SinkRunner): Promise<void> {
    await runner.whenDurable(await this.ends())
  }

  async ends(): Promise<{ partition: number; offset: number }[]> {
    const offsets = await this.log.admin.offsets(partitionsOf(TOPIC, this.partitions))
    return offsets.map(({ stable }, partition) => ({ partition, offset: stable }))
  }

  async stop(runner: SinkRunner): Promise<void> {
    runner.stop()
    await this.#runs.find((run) => run.runner === runner)!.done
  }

  /** What the runner's `run` fails with. */
  async failureOf(runner: SinkRunner): Promise<Error & { code?: string }> {
    return await this.#runs
      .find((run) => run.runner === runner)!
      .done.then(
        () => {
          throw new Error('the run ended well')
        },
        (error: unknown) => error as Error,
      )
  }

  async deadLetters(): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = []
    for (let partition = 0; partition < this.partitions; partition++) {
      const reader = this.log.partitionReader({ topic: DEAD_LETTERS, partition }, 0)
      for (let batch = await reader.read(2 ** 20); batch !== null; batch = await reader.read(2 ** 20)) {
        for (let i = 0; i < batch.count; i++) {
          const value = batch.valueAt(i)!
          letters.push(deadLetterSchema.decode(value, HEADER_BYTES, value.length))
        }
      }
      await reader.close()
    }
    return letters
  }

  /** The group's committed offset of a partition. */
  async committed(groupId: string, partition = 0): Promise<number | null> {
    const [offset] = await this.log.admin.groupOffsets(groupId, [{ topic: TOPIC, partition }])
    return offset?.offset ?? null
  }

  async close(): Promise<void> {
    for (const { runner, done } of this.#runs) {
      runner.stop()
      await done.catch(() => undefined)
    }
    await this.log.close()
  }

  async #send(builder: BatchBuilder): Promise<void> {
    const producer = this.log.idempotentProducer()
    await producer.send([builder])
    await producer.close()
  }
}

/** What stands before a value of the schema with this id. */
export function header(id: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes.writeInt32BE(id, 1)
  return bytes
}

/** The log, with its transactions' commits in the test's hands. */
export function faulty(log: Log, commit: (commit: () => Promise<void>) => Promise<void>): Log {
  return {
    admin: log.admin,
    idempotentProducer: () => log.idempotentProducer(),
    groupConsumer: (options) => log.groupConsumer(options),
    partitionReader: (partition, from) => log.partitionReader(partition, from),
    close: () => log.close(),
    transactionalProducer: (options): TransactionalProducer => {
      const producer = log.transactionalProducer(options)
      return {
        init: () => producer.init(),
        begin: () => producer.begin(),
        send: (batches) => producer.send(batches),
        sendOffsets: (offsets, group) => producer.sendOffsets(offsets, group),
        commit: () => commit(() => producer.commit()),
        abort: () => producer.abort(),
        close: () => producer.close(),
      }
    },
  }
}
