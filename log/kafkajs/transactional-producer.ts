import type { ProduceBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type {
  GroupMetadata,
  OffsetAndMetadata,
  TopicPartition,
  TransactionalProducer,
  TransactionalProducerOptions,
} from '../port.ts'
import type { Client } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { KAFKA, kafkaError, nameOf } from './errors.ts'
import { endTransaction } from './hardening/bricked-producer.ts'
import { LateRequests } from './hardening/late-requests.ts'
import { PartitionSender, type SenderOptions } from './partition-sender.ts'
import type { KafkaRequest, PartitionError } from './requests/request.ts'
import {
  addOffsetsToTxnRequest,
  addPartitionsToTxnRequest,
  initProducerIdRequest,
  txnOffsetCommitRequest,
  type TransactionIdentity,
} from './requests/transactions.ts'

const DEFAULT_TRANSACTION_TIMEOUT_MS = 10_000
/** What the coordinator answers to a producer that is not the id's latest any more. */
const FENCED: ReadonlySet<number> = new Set([KAFKA.invalidProducerEpoch, KAFKA.producerFenced])

interface Session {
  readonly identity: TransactionIdentity
  readonly sender: PartitionSender
  readonly late: LateRequests
}

/*
 *   created ──init──► idle ◄──commit, abort── open
 *                      └──────── begin ────────►┘       any error: failed, for good
 *
 * An epoch, and with it the session, lasts until a request of it may come late.
 */

export class KafkaTransactionalProducer implements TransactionalProducer {
  readonly #client: Client
  readonly #coordinators: Coordinators
  readonly #transactionalId: string
  readonly #timeoutMs: number
  readonly #senderOptions: SenderOptions
  #session: Session | null = null
  #isOpen = false
  #isClosed = false
  #failure: Error | null = null
  /** Partitions that the coordinator knows to be of the open transaction. */
  readonly #partitions = new Set<string>()
  /** Groups likewise. */
  readonly #groups = new Set<string>()
  /** Whose offsets were sent last. */
  #lastGroup: string | null = null
  /** When the coordinator's timer of the open transaction began, at the earliest; null: it has not. */
  #startedMs: number | null = null
  /** Calls go one after another. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    client: Client,
    coordinators: Coordinators,
    { transactionalId, transactionTimeoutMs = DEFAULT_TRANSACTION_TIMEOUT_MS }: TransactionalProducerOptions,
    senderOptions: SenderOptions,
  ) {
    this.#client = client
    this.#coordinators = coordinators
    this.#transactionalId = transactionalId
    this.#timeoutMs = transactionTimeoutMs
    this.#senderOptions = senderOptions
  }

  async init(): Promise<void> {
    return this.#next(async () => {
      this.#assertUsable()
      if (this.#session !== null) throw this.#outOfTurn('was initialised already')
      const subject = `Initialising the transactional producer ${this.#transactionalId}`
      this.#session = await this.#newSession(subject)
    })
  }

  begin(): void {
    this.#assertUsable()
    if (this.#session === null) throw this.#outOfTurn('was not initialised')
    if (this.#isOpen) throw this.#outOfTurn('has a transaction open: commit or abort it first')
    this.#isOpen = true
  }

  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    return this.#inTransaction(async ({ identity, sender }) => {
      const added = batches.filter((batch) => batch.count > 0 && !this.#partitions.has(nameOf(batch)))
      if (added.length > 0) {
        // Unknown ones are refused before the coordinator hears of them.
        await this.#client.retrying('Finding the leaders of partitions', () => this.#client.leaders(added))
        const partitions = [...new Map(added.map((batch) => [nameOf(batch), batch])).values()]
        await this.#addPartitions(identity, partitions)
      }
      const offsets = await sender.send(batches)
      const unknown = offsets.findIndex((offset, i) => offset < 0 && batches[i]!.count > 0)
      if (unknown < 0) return offsets
      throw new LogError(
        'OUTCOME_UNKNOWN',
        `${nameOf(batches[unknown]!)} holds what was sent, but its leader does not remember where: discard the producer and open again`,
      )
    })
  }

  async sendOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    return this.#inTransaction(async ({ identity, late }) => {
      if (offsets.length === 0) return
      const { groupId } = group
      const subject = `Offsets of group ${groupId}, generation ${group.generation}, in transaction ${this.#transactionalId}`
      await this.#addGroup(identity, groupId)
      this.#lastGroup = groupId
      // Protocol step 3: refused where the generation is not the group's own any more.
      const request = txnOffsetCommitRequest(identity, group, offsets)
      await this.#client.retrying(subject, async () => {
        const answer = await late.watch(this.#coordinators.send('group', groupId, request, firstError))
        const errorCode = firstError(answer)
        if (errorCode !== 0) throw this.#meaningOf(errorCode, subject + refusedPlace(answer))
      })
    })
  }

  async #addPartitions(identity: TransactionIdentity, partitions: readonly TopicPartition[]): Promise<void> {
    this.#startedMs ??= performance.now()
    const adding = this.#ask(
      `Adding partitions to transaction ${this.#transactionalId}`,
      addPartitionsToTxnRequest(identity, partitions),
      firstError,
      refusedPlace,
    )
    // Offsets will come as in the transaction before: their group goes on the way with it. Whoever sends them asks
    // again where that did not succeed.
    const group = this.#lastGroup === null ? null : this.#addGroup(identity, this.#lastGroup)
    await Promise.allSettled([adding, group])
    await adding
    for (const partition of partitions) this.#partitions.add(nameOf(partition))
  }

  async #addGroup(identity: TransactionIdentity, groupId: string): Promise<void> {
    if (this.#groups.has(groupId)) return
    this.#startedMs ??= performance.now()
    const subject = `Adding group ${groupId} to transaction ${this.#transactionalId}`
    await this.#ask(subject, addOffsetsToTxnRequest(identity, groupId), (code) => code)
    this.#groups.add(groupId)
  }

  async commit(): Promise<void> {
    return this.#inTransaction((session) => this.#end(session, 'commit'))
  }

  async abort(): Promise<void> {
    return this.#inTransaction((session) => this.#end(session, 'abort'))
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#last
    const session = this.#session
    if (session === null || !this.#isOpen || !mayBeAborted(this.#failure) || this.#client.isClosing) return
    try {
      await this.#end(session, 'abort', this.#client.options.requestTimeoutMs)
    } catch {
      // The log ends what is left open by its time-out, or when the id is initialised next.
    }
  }

  /** @param current whose epoch it follows, if nobody else has the id by now; null: takes the id over */
  async #newSession(subject: string, current: TransactionIdentity | null = null): Promise<Session> {
    const transactionalId = this.#transactionalId
    const request = initProducerIdRequest({
      transactionalId,
      transactionTimeoutMs: this.#timeoutMs,
      ...(current === null ? {} : { current }),
    })
    const { producerId, producerEpoch } = await this.#ask(subject, request, ({ errorCode }) => errorCode)
    const identity = { transactionalId, producerId, producerEpoch }
    const sender = new PartitionSender(this.#client, identity, this.#senderOptions)
    return { identity, sender, late: new LateRequests() }
  }

  /** What the ended transaction may have left on its way finds another epoch. The next transaction waits for it. */
  async #leaveEpoch({ identity }: Session): Promise<void> {
    if (this.#isClosed) return
    try {
      const subject = `A new epoch of the transactional producer ${this.#transactionalId}`
      this.#session = await this.#newSession(subject, identity)
    } catch (error) {
      // The transaction before has ended well: it is the next one that cannot be.
      this.#failure = error as Error
    }
  }

  async #end(session: Session, decision: 'commit' | 'abort', timeoutMs?: number): Promise<void> {
    // The coordinator knows nothing of a transaction in which nothing was sent.
    if (this.#startedMs !== null) {
      await endTransaction(
        this.#client,
        this.#coordinators,
        session,
        decision,
        (code, subject) => this.#meaningOf(code, subject),
        timeoutMs,
      )
    }
    this.#isOpen = false
    this.#startedMs = null
    this.#partitions.clear()
    this.#groups.clear()
    if (session.late.mayCome) void this.#next(() => this.#leaveEpoch(session))
  }

  /** Asks the transaction's coordinator until it accepts. */
  async #ask<Result>(
    subject: string,
    request: KafkaRequest<Result>,
    errorOf: (result: Result) => number,
    placeOf: (result: Result) => string = () => '',
  ): Promise<Result> {
    return this.#client.retrying(subject, async () => {
      const sent = this.#coordinators.send('transaction', this.#transactionalId, request, errorOf)
      const result = await (this.#session?.late.watch(sent) ?? sent)
      const errorCode = errorOf(result)
      if (errorCode !== 0) throw this.#meaningOf(errorCode, subject + placeOf(result))
      return result
    })
  }

  /** A log that timed the transaction out fences its producer too. */
  #meaningOf(kafkaCode: number, subject: string): Error {
    const isTimedOut = this.#startedMs !== null && performance.now() - this.#startedMs >= this.#timeoutMs
    return FENCED.has(kafkaCode) && isTimedOut
      ? new LogError(
          'TRANSACTION_TIMED_OUT',
          `${subject}: it was open for more than ${this.#timeoutMs} ms, and Kafka has aborted it; discard the producer and open again`,
        )
      : kafkaError(kafkaCode, subject)
  }

  #inTransaction<T>(action: (session: Session) => Promise<T>): Promise<T> {
    return this.#next(async () => {
      this.#assertUsable()
      if (this.#session === null || !this.#isOpen) throw this.#outOfTurn('has no transaction open')
      try {
        return await action(this.#session)
      } catch (error) {
        this.#failure = this.#asTransactionError(error) as Error
        throw this.#failure
      }
    })
  }

  /** The sender's codes, in the terms of the transaction. */
  #asTransactionError(error: unknown): unknown {
    if (!(error instanceof LogError) || error.code !== 'FENCED') return error
    const isTimedOut = this.#startedMs !== null && performance.now() - this.#startedMs >= this.#timeoutMs
    return isTimedOut ? this.#meaningOf(KAFKA.producerFenced, error.message) : error
  }

  #next<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action)
    this.#last = result.catch(() => undefined)
    return result
  }

  #assertUsable(): void {
    if (this.#failure !== null) throw this.#failure
    if (this.#isClosed) {
      throw new LogError('CLOSED', `The producer ${this.#transactionalId} was closed: make a new one`)
    }
  }

  #outOfTurn(what: string): LogError {
    return new LogError('INVALID_STATE', `The transactional producer ${this.#transactionalId} ${what}`)
  }
}

function firstError(partitions: readonly PartitionError[]): number {
  return firstRefused(partitions)?.errorCode ?? 0
}

function refusedPlace(partitions: readonly PartitionError[]): string {
  return `, ${nameOf(firstRefused(partitions)!)}`
}

function firstRefused(partitions: readonly PartitionError[]): PartitionError | undefined {
  // 55 only says that another partition's error was in the way.
  const refused = partitions.filter(({ errorCode }) => errorCode !== 0)
  return refused.find(({ errorCode }) => errorCode !== KAFKA.operationNotAttempted) ?? refused[0]
}

/** Not where somebody else has the id, nor where a decision may have been taken already. */
function mayBeAborted(failure: unknown): boolean {
  return !(
    failure instanceof LogError &&
    ['FENCED', 'TRANSACTION_TIMED_OUT', 'OUTCOME_UNKNOWN'].includes(failure.code)
  )
}
