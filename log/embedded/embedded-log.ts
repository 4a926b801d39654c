import { randomUUID } from 'node:crypto'
import { systemClock, type Clock } from '../../config/clock.ts'
import type {
  GroupConsumer,
  GroupConsumerOptions,
  IdempotentProducer,
  Log,
  LogAdmin,
  PartitionReader,
  TopicPartition,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../port.ts'
import { EmbeddedAdmin } from './admin.ts'
import { Cleaner, type CleanerOptions } from './cleaner.ts'
import { EmbeddedGroupConsumer } from './consumer.ts'
import { LogCore, type CoreOptions } from './core.ts'
import { Groups } from './groups.ts'
import { damaged, openLmdbStorage } from './lmdb-storage.ts'
import { MemoryStorage } from './memory-storage.ts'
import { EmbeddedIdempotentProducer, EmbeddedTransactionalProducer } from './producers.ts'
import { EmbeddedPartitionReader } from './reader.ts'
import type { SegmentStorage } from './storage.ts'
import { Transactions } from './transactions.ts'

export interface EmbeddedLogOptions {
  /** Append times, time-outs and retention go by it. Default: the system's. */
  readonly clock?: Clock
  /** New ids of clusters, topics and members. Default: random UUIDs. */
  readonly randomId?: () => string
  /** A send of more is split into segments of about this size. Default 1 MiB. */
  readonly maxSegmentBytes?: number
  /** A transaction is held in memory until it commits; a larger one is refused. Default 256 MiB. */
  readonly maxTransactionBytes?: number
  /** Default 16 MiB. */
  readonly compactMinBytes?: number
  /** Default 24 hours. */
  readonly tombstoneRetentionMs?: number
}

export interface DirectoryOptions extends EmbeddedLogOptions {
  /** Nobody else may have it open: the caller holds a lock on it. */
  readonly directory: string
  /** Segments kept in memory for readers that follow closely. Default 32 MiB. */
  readonly cacheBytes?: number
  /** Address space for the store's file, not memory; it need not exist. Default 256 GiB. */
  readonly mapBytes?: number
  /** Shows what is durable, beside the process that has the directory too; writes are refused. Default false. */
  readonly readOnly?: boolean
}

export interface EmbeddedLogStats {
  readonly bytesWritten: number
  readonly openTransactions: number
  readonly cachedBytes: number
}

export interface EmbeddedLog extends Log {
  stats(): EmbeddedLogStats
  /** Aborts transactions that are past their time-out. For a clock that is moved by hand: nothing else wakes waits then. */
  checkTimeouts(): void
  /** Resolves when the cleaning (retention, compaction, deleted topics) that is due has been done. */
  cleaned(): Promise<void>
}

/**
 * The log on local disk, in one lmdb file: durable to kill -9, for one process at a time.
 *
 * @throws LogError STORAGE when the directory cannot be opened, DAMAGED when what it holds is no log
 */
export async function openEmbeddedLog(options: DirectoryOptions): Promise<EmbeddedLog> {
  const { readOnly = false } = options
  const storage = openLmdbStorage(options.directory, options.mapBytes ?? 2 ** 38, readOnly)
  return openLogOn(storage, options, options.cacheBytes ?? 32 * 2 ** 20, readOnly)
}

/** The same log in memory, for tests of what stands above it. */
export function createMemoryLog(options: EmbeddedLogOptions = {}): Promise<EmbeddedLog> {
  return openLogOn(new MemoryStorage(), options, 0)
}

/** The log on any storage. */
export async function openLogOn(
  storage: SegmentStorage,
  options: EmbeddedLogOptions,
  cacheBytes: number,
  readOnly = false,
): Promise<EmbeddedLog> {
  const coreOptions: CoreOptions = {
    storage,
    clock: options.clock ?? systemClock,
    randomId: options.randomId ?? randomUUID,
    cacheBytes,
    maxSegmentBytes: options.maxSegmentBytes ?? 2 ** 20,
    maxTransactionBytes: options.maxTransactionBytes ?? 256 * 2 ** 20,
    readOnly,
  }
  try {
    const { core, entries, dropped } = await LogCore.open(coreOptions)
    const log = new StandingLog(core, entries, {
      compactMinBytes: options.compactMinBytes ?? 16 * 2 ** 20,
      tombstoneRetentionMs: options.tombstoneRetentionMs ?? 24 * 3_600_000,
    })
    log.cleaner.resume(dropped)
    return log
  } catch (error) {
    await storage.close()
    // Entries are JSON that we wrote.
    throw error instanceof SyntaxError ? damaged(error.message, error) : error
  }
}

class StandingLog implements EmbeddedLog {
  readonly admin: LogAdmin
  readonly cleaner: Cleaner
  readonly #core: LogCore
  readonly #groups: Groups
  readonly #transactions: Transactions
  #closing: Promise<void> | null = null

  constructor(core: LogCore, entries: ReadonlyMap<string, string>, options: CleanerOptions) {
    this.#core = core
    this.#groups = new Groups(core, entries)
    this.#transactions = new Transactions(core, this.#groups, entries)
    this.cleaner = new Cleaner(core, options)
    this.admin = new EmbeddedAdmin(core, this.#groups, this.cleaner)
    core.onBlocked = () => this.#transactions.expire()
  }

  transactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    return new EmbeddedTransactionalProducer(this.#transactions, options)
  }

  idempotentProducer(): IdempotentProducer {
    return new EmbeddedIdempotentProducer(this.#core)
  }

  groupConsumer(options: GroupConsumerOptions): GroupConsumer {
    return new EmbeddedGroupConsumer(this.#core, this.#groups, options)
  }

  partitionReader(partition: TopicPartition, from: number): PartitionReader {
    return new EmbeddedPartitionReader(this.#core, partition, from)
  }

  stats(): EmbeddedLogStats {
    return {
      bytesWritten: this.#core.writer.bytesWritten,
      openTransactions: this.#transactions.openCount,
      cachedBytes: this.#core.cachedBytes,
    }
  }

  checkTimeouts(): void {
    this.#transactions.expire()
  }

  async cleaned(): Promise<void> {
    await this.cleaner.settled()
  }

  /** Aborts what is open, waits for what is being written; calls that wait end with CLOSED. */
  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close(): Promise<void> {
    this.#core.refuse()
    this.#transactions.abortAll()
    this.#groups.wakeAll()
    await this.cleaner.stop()
    await this.#core.close()
  }
}
