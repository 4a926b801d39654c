import { LogError } from '../errors.ts'
import type { GroupMetadata, OffsetAndMetadata, TransactionalProducerOptions } from '../port.ts'
import { Appender } from './appender.ts'
import type { LogCore } from './core.ts'
import { assertOffsets } from './group-offsets.ts'
import type { Group, Groups } from './groups.ts'
import type { Change } from './storage.ts'

/** Who may write under a transactional id: the last producer that was initialised with it. */
interface TransactionalId {
  epoch: number
  usedMs: number
  owner: ProducerSession | null
}

const TRANSACTIONAL_ID = 'transactional-id'
/** Kafka's transactional.id.expiration.ms: an id that nobody has used for so long is forgotten. */
const ID_EXPIRES_MS = 7 * 24 * 3_600_000

/** Fencing by transactional id and epoch, and the time-out of open transactions. */
export class Transactions {
  readonly core: LogCore
  readonly groups: Groups
  readonly #ids = new Map<string, TransactionalId>()
  readonly #open = new Set<Transaction>()

  constructor(core: LogCore, groups: Groups, entries: ReadonlyMap<string, string>) {
    this.core = core
    this.groups = groups
    for (const [key, value] of entries) {
      const [kind, id] = key.split('\0')
      if (kind !== TRANSACTIONAL_ID) continue
      const [epoch, usedMs] = JSON.parse(value) as [number, number]
      this.#ids.set(id!, { epoch, usedMs, owner: null })
    }
  }

  get openCount(): number {
    return this.#open.size
  }

  /**
   * Takes the id over: whoever had it is fenced, and what it left open is aborted. A commit of it
   * that is already on its way to the disk is decided when this resolves: writes keep their order.
   */
  async takeOver(id: string, session: ProducerSession): Promise<void> {
    const nowMs = this.core.nowMs()
    const known = this.#ids.get(id) ?? { epoch: -1, usedMs: nowMs, owner: null }
    known.owner?.fence(id)
    known.owner = session
    known.epoch++
    known.usedMs = nowMs
    this.#ids.set(id, known)
    await this.core.writer.write([...this.#expiredIds(nowMs), idEntry(id, known)])
  }

  release(id: string, session: ProducerSession): void {
    const known = this.#ids.get(id)
    if (known?.owner === session) known.owner = null
  }

  add(transaction: Transaction): void {
    this.#open.add(transaction)
  }

  remove(transaction: Transaction): void {
    this.#open.delete(transaction)
  }

  /** Aborts what is open for longer than its time-out. */
  expire(): void {
    const nowMs = this.core.clock.nowMs()
    for (const transaction of this.#open) transaction.expire(nowMs)
  }

  abortAll(): void {
    for (const transaction of this.#open) transaction.abort()
  }

  #expiredIds(nowMs: number): Change[] {
    const changes: Change[] = []
    for (const [id, { usedMs, owner }] of this.#ids) {
      if (owner !== null || nowMs - usedMs < ID_EXPIRES_MS) continue
      this.#ids.delete(id)
      changes.push({ entry: `${TRANSACTIONAL_ID}\0${id}`, value: null })
    }
    return changes
  }
}

function idEntry(id: string, { epoch, usedMs }: TransactionalId): Change {
  return { entry: `${TRANSACTIONAL_ID}\0${id}`, value: JSON.stringify([epoch, usedMs]) }
}

/**
 * One producer's right to write, until it is fenced or fails:
 *
 *   new ──init──► ready ◄──begin / commit, abort──► (transaction)
 *                   │
 *                   └─ fenced, timed out, storage failed ──► failed (every call throws the reason)
 */
export class ProducerSession {
  readonly #transactions: Transactions
  readonly #id: string
  readonly #timeoutMs: number
  #initialised = false
  #failure: LogError | null = null
  #transaction: Transaction | null = null

  constructor(transactions: Transactions, options: TransactionalProducerOptions) {
    this.#transactions = transactions
    this.#id = options.transactionalId
    this.#timeoutMs = options.transactionTimeoutMs ?? 10_000
    if (this.#id === '' || Buffer.byteLength(this.#id) > 255 || this.#id.includes('\0')) {
      throw new LogError('INVALID_STATE', `"${this.#id}" cannot be a transactional id: use 1 to 255 bytes`)
    }
  }

  async init(): Promise<void> {
    this.#transactions.core.assertOpen()
    if (this.#failure !== null) throw this.#failure
    if (this.#initialised) throw new LogError('INVALID_STATE', `${this.#id} is initialised already`)
    this.#initialised = true
    await this.#transactions.takeOver(this.#id, this)
    this.#assertUsable()
  }

  begin(): void {
    this.#assertUsable()
    if (this.#transaction !== null) {
      throw new LogError('INVALID_STATE', `${this.#id} has an open transaction: commit or abort it first`)
    }
    this.#transaction = new Transaction(this.#transactions, this.#timeoutMs, (ageMs) => {
      this.#failure = new LogError(
        'TRANSACTION_TIMED_OUT',
        `The transaction of ${this.#id} was open for ${ageMs} ms, longer than its ${this.#timeoutMs}, and was aborted: make a new producer`,
      )
      this.#transaction = null
    })
  }

  /** The open transaction. @throws LogError */
  transaction(): Transaction {
    this.#transactions.expire()
    this.#assertUsable()
    if (this.#transaction === null || this.#transaction.isDeciding) {
      throw new LogError('INVALID_STATE', `${this.#id} has no open transaction: begin one first`)
    }
    return this.#transaction
  }

  async commit(): Promise<void> {
    const transaction = this.transaction()
    try {
      await transaction.commit()
    } catch (error) {
      this.#failure ??= error as LogError
      throw error
    } finally {
      this.#transaction = null
    }
  }

  abort(): void {
    this.transaction().abort()
    this.#transaction = null
  }

  async close(): Promise<void> {
    if (this.#transaction?.isDeciding === true) await this.#transaction.decided
    else this.#transaction?.abort()
    this.#transaction = null
    this.#failure ??= new LogError('CLOSED', `The producer of ${this.#id} was closed: make a new one`)
    this.#transactions.release(this.#id, this)
  }

  /** Another producer has the id now. */
  fence(id: string): void {
    this.#failure = new LogError(
      'FENCED',
      `Another producer was initialised as ${id}: stop writing, or open again`,
    )
    if (this.#transaction?.isDeciding !== true) this.#transaction?.abort()
  }

  #assertUsable(): void {
    this.#transactions.core.assertOpen()
    if (this.#failure !== null) throw this.#failure
    if (!this.#initialised)
      throw new LogError('INVALID_STATE', `${this.#id} is not initialised: call init() first`)
  }
}

/** Records and group offsets that are decided together. */
export class Transaction {
  readonly #transactions: Transactions
  readonly #appender: Appender
  readonly #timeoutMs: number
  readonly #onTimeout: (ageMs: number) => void
  readonly #groups = new Set<Group>()
  #startedMs: number | null = null
  #timer: NodeJS.Timeout | null = null
  #decided: Promise<void> | null = null

  constructor(transactions: Transactions, timeoutMs: number, onTimeout: (ageMs: number) => void) {
    this.#transactions = transactions
    this.#appender = new Appender(transactions.core)
    this.#timeoutMs = timeoutMs
    this.#onTimeout = onTimeout
  }

  get appender(): Appender {
    this.#start()
    return this.#appender
  }

  get isDeciding(): boolean {
    return this.#decided !== null
  }

  /** Resolves when a commit has ended, well or badly. */
  get decided(): Promise<void> {
    return this.#decided ?? Promise.resolve()
  }

  /** @throws LogError STALE_GENERATION */
  addOffsets(offsets: readonly OffsetAndMetadata[], metadata: GroupMetadata): void {
    assertOffsets(offsets)
    for (const offset of offsets) this.#transactions.core.partition(offset)
    const group = this.#transactions.groups.get(metadata.groupId)
    group.assertCurrent(metadata)
    this.#start()
    this.#groups.add(group)
    group.offsets.hold(this, offsets)
  }

  async commit(): Promise<void> {
    this.#stop()
    const changes = [...this.#groups].flatMap((group) => group.offsets.changes(this))
    const written = this.#appender.commit(changes, () => this.#release(true))
    this.#decided = written.catch(() => this.#release(false))
    await written
  }

  abort(): void {
    this.#stop()
    this.#appender.abort()
    this.#release(false)
  }

  expire(nowMs: number): void {
    if (this.#startedMs === null || nowMs - this.#startedMs < this.#timeoutMs) return
    const ageMs = nowMs - this.#startedMs
    this.abort()
    this.#onTimeout(ageMs)
  }

  /** Its time runs from its first record or offset, as in Kafka. */
  #start(): void {
    if (this.#startedMs !== null) return
    this.#startedMs = this.#transactions.core.clock.nowMs()
    this.#transactions.add(this)
    this.#arm(this.#timeoutMs)
  }

  /** The clock decides; the timer only looks at it, for those who wait. */
  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => {
      const nowMs = this.#transactions.core.clock.nowMs()
      const leftMs = this.#startedMs! + this.#timeoutMs - nowMs
      if (leftMs <= 0) this.expire(nowMs)
      else this.#arm(leftMs)
    }, delayMs)
    this.#timer.unref()
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#transactions.remove(this)
  }

  #release(committed: boolean): void {
    for (const group of this.#groups) group.offsets.release(this, committed)
  }
}
