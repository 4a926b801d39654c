import { type Decision, fenced, type SimulatedPartition } from './partition.ts'
import type { SimulatedGroup } from './group.ts'
import { Refusal, type Wire } from './wire.ts'

/** How often the coordinator looks for transactions that are too old, as our servers are set. */
const SWEEP_MS = 1_000

export interface ProducerIdentity {
  readonly producerId: number
  readonly epoch: number
}

interface Transaction {
  readonly id: string
  readonly producerId: number
  epoch: number
  timeoutMs: number
  state: 'empty' | 'ongoing' | 'ending'
  /** Of the transaction that is ending, or that ended last. */
  decision: Decision | null
  readonly partitions: Set<SimulatedPartition>
  readonly groups: Set<SimulatedGroup>
  /** Tells one transaction of an id from the next. */
  number: number
}

/**
 * The transaction coordinator:
 *
 *   empty ──a partition or a group is added──► ongoing ──EndTxn, fencing, time-out──► ending ──all markers written──► empty
 *
 * EndTxn is answered when it is decided: the markers, which make it visible, are written later, one at a time.
 */
export class TransactionCoordinator {
  readonly #wire: Wire
  readonly #transactions = new Map<string, Transaction>()
  #nextProducerId = 1

  constructor(wire: Wire) {
    this.#wire = wire
  }

  /** For a producer without transactions. */
  newProducerId(): ProducerIdentity {
    return { producerId: this.#nextProducerId++, epoch: 0 }
  }

  /** Fences whoever had the id before; what it left open is ended first, which the caller has to wait for. */
  initProducerId(id: string, timeoutMs: number): ProducerIdentity {
    let transaction = this.#transactions.get(id)
    if (transaction === undefined) {
      transaction = {
        id,
        producerId: this.#nextProducerId++,
        epoch: -1,
        timeoutMs,
        state: 'empty',
        decision: null,
        partitions: new Set(),
        groups: new Set(),
        number: 0,
      }
      this.#transactions.set(id, transaction)
    }
    if (transaction.state === 'ongoing') {
      transaction.epoch++
      this.#end(transaction, 'abort')
    }
    if (transaction.state === 'ending') throw concurrent(id)
    transaction.timeoutMs = timeoutMs
    transaction.epoch++
    transaction.decision = null
    return { producerId: transaction.producerId, epoch: transaction.epoch }
  }

  addPartitions(id: string, identity: ProducerIdentity, partitions: readonly SimulatedPartition[]): void {
    const transaction = this.#ongoing(id, identity)
    for (const partition of partitions) transaction.partitions.add(partition)
  }

  addOffsets(id: string, identity: ProducerIdentity, group: SimulatedGroup): void {
    this.#ongoing(id, identity).groups.add(group)
  }

  /** Who leads a partition asks before it appends, so that what comes after the end opens nothing. */
  assertPart(id: string, identity: ProducerIdentity, part: SimulatedPartition | SimulatedGroup): void {
    const transaction = this.#checked(id, identity)
    const isPart = transaction.partitions.has(part as never) || transaction.groups.has(part as never)
    if (transaction.state === 'ongoing' && isPart) return
    throw new Refusal('INVALID_TXN_STATE', `${part.name} is in no open transaction of ${id}`)
  }

  end(id: string, identity: ProducerIdentity, decision: Decision): void {
    const transaction = this.#checked(id, identity)
    if (transaction.state === 'ending') throw concurrent(id)
    if (transaction.state === 'ongoing') this.#end(transaction, decision)
    // A retry of what was done is answered again.
    else if (transaction.decision !== decision) {
      throw new Refusal('INVALID_TXN_STATE', `Transactional id ${id} has no open transaction to ${decision}`)
    }
  }

  /** Whether the producer's last transaction will be seen as committed, once its markers are written. */
  isCommitted(producerId: number): boolean {
    for (const transaction of this.#transactions.values()) {
      if (transaction.producerId === producerId) {
        return transaction.state === 'ending' && transaction.decision === 'commit'
      }
    }
    return false
  }

  #ongoing(id: string, identity: ProducerIdentity): Transaction {
    const transaction = this.#checked(id, identity)
    if (transaction.state === 'ending') throw concurrent(id)
    if (transaction.state === 'empty') {
      transaction.state = 'ongoing'
      this.#armTimeout(transaction, ++transaction.number)
    }
    return transaction
  }

  #armTimeout(transaction: Transaction, number: number): void {
    const { id, timeoutMs } = transaction
    this.#wire.after(timeoutMs + SWEEP_MS, `time-out of ${id}`, () => {
      if (transaction.state !== 'ongoing' || transaction.number !== number) return
      transaction.epoch++
      this.#end(transaction, 'abort')
    })
  }

  #checked(id: string, { producerId, epoch }: ProducerIdentity): Transaction {
    const transaction = this.#transactions.get(id)
    if (transaction?.producerId === producerId && transaction.epoch === epoch) return transaction
    throw fenced(`Transactional id ${id} has a later producer than ${producerId}/${epoch}`)
  }

  #end(transaction: Transaction, decision: Decision): void {
    const { id, producerId, epoch } = transaction
    const parts = [...transaction.partitions, ...transaction.groups]
    transaction.state = 'ending'
    transaction.decision = decision
    transaction.partitions.clear()
    transaction.groups.clear()
    let left = parts.length
    if (left === 0) transaction.state = 'empty'
    for (const part of parts) {
      this.#wire.soon(`${decision} marker of ${id} into ${part.name}`, () => {
        part.writeMarker(producerId, epoch, decision)
        if (--left === 0) transaction.state = 'empty'
      })
    }
  }
}

function concurrent(id: string): Refusal {
  return new Refusal('CONCURRENT_TRANSACTIONS', `The last transaction of ${id} is still being ended`)
}
