import assert from 'node:assert/strict'
import { BatchBuilder } from '../../../log/batch.ts'
import { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import type { JoinAnswer, JoinRequest } from '../../../log/simulated/group.ts'
import { Refusal, type RefusalCode, type Wire } from '../../../log/simulated/wire.ts'

/** Holds what the cluster would do by itself until it is told to. */
class HeldWire implements Wire {
  readonly own: (() => void)[] = []
  #timed: { atMs: number; run: () => void }[] = []
  #nowMs = 0

  nowMs(): number {
    return this.#nowMs
  }

  soon(_what: string, run: () => void): void {
    this.own.push(run)
  }

  after(ms: number, _what: string, run: () => void): void {
    this.#timed.push({ atMs: this.#nowMs + ms, run })
  }

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (;;) {
      const next = this.#timed.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#timed = this.#timed.filter((timed) => timed !== next)
      this.#nowMs = next.atMs
      next.run()
    }
    this.#nowMs = untilMs
  }
}

const TOPIC = 'topic'
const AT = { topic: TOPIC, partition: 0 }

function refused(code: RefusalCode, action: () => void): void {
  assert.throws(action, (error) => error instanceof Refusal && error.code === code)
}

describe("the simulated cluster's phases", () => {
  let wire: HeldWire
  let cluster: SimulatedCluster

  beforeEach(() => {
    wire = new HeldWire()
    cluster = new SimulatedCluster(wire)
    cluster.createTopics([{ name: TOPIC, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
  })

  const batch = (value: string): BatchBuilder => {
    const builder = new BatchBuilder(TOPIC, 0)
    builder.append(null, Buffer.from(value))
    return builder
  }

  function begin(id: string, value: string): { producerId: number; epoch: number } {
    const identity = cluster.transactions.initProducerId(id, 3_000)
    cluster.transactions.addPartitions(id, identity, [cluster.partition(AT)])
    cluster.produce([{ batch: batch(value), sequence: 0 }], identity, id)
    return identity
  }

  describe('transactions', () => {
    it('are decided with EndTxn and seen with their markers, which come later', () => {
      const identity = begin('id', 'a')
      cluster.transactions.end('id', identity, 'commit')
      const partition = cluster.partition(AT)
      assert.equal(partition.stable, 0)
      assert.equal(partition.hasRecords(0), false)
      refused('CONCURRENT_TRANSACTIONS', () => {
        cluster.transactions.addPartitions('id', identity, [partition])
      })
      for (const run of wire.own.splice(0)) run()
      assert.equal(partition.hasRecords(0), true)
      assert.equal(partition.stable, partition.end)
    })

    it('that are timed out take their producer with them', () => {
      const identity = begin('id', 'a')
      wire.advance(10_000)
      refused('INVALID_PRODUCER_EPOCH', () => {
        cluster.transactions.end('id', identity, 'commit')
      })
      for (const run of wire.own.splice(0)) run()
      assert.equal(cluster.partition(AT).hasRecords(0), false)
    })

    it('take a request that is sent again once, and one that comes behind their end not at all', () => {
      const identity = begin('id', 'a')
      cluster.produce([{ batch: batch('a'), sequence: 0 }], identity, 'id')
      assert.equal(cluster.partition(AT).end, 1)
      cluster.transactions.end('id', identity, 'commit')
      for (const run of wire.own.splice(0)) run()
      refused('INVALID_TXN_STATE', () => {
        cluster.produce([{ batch: batch('b'), sequence: 1 }], identity, 'id')
      })
    })

    it('are ended by a late EndTxn of the one before, in the same epoch: Kafka does not tell them apart', () => {
      const identity = begin('id', 'a')
      cluster.transactions.end('id', identity, 'commit')
      for (const run of wire.own.splice(0)) run()
      cluster.transactions.addPartitions('id', identity, [cluster.partition(AT)])
      cluster.produce([{ batch: batch('half'), sequence: 1 }], identity, 'id')
      cluster.transactions.end('id', identity, 'commit')
      for (const run of wire.own.splice(0)) run()
      assert.equal(cluster.partition(AT).hasRecords(2), true)
    })
  })

  describe('groups', () => {
    const member = (memberId: string): JoinRequest => ({
      memberId,
      topics: [[TOPIC]],
      sessionTimeoutMs: 3_000,
      rebalanceTimeoutMs: 10_000,
      cohort: '',
      previous: [],
      previousGeneration: -1,
    })

    function join(memberId: string): () => JoinAnswer {
      let given: JoinAnswer | Refusal | null = null
      cluster.group('group').join(member(memberId), (answer) => (given = answer))
      return () => {
        assert(given !== null && !(given instanceof Refusal), `${memberId} has no answer`)
        return given
      }
    }

    it('are between two generations while a member has joined and not synced: the old one may not commit', () => {
      const group = cluster.group('group')
      const first = join('one')()
      const old = { groupId: 'group', memberId: 'one', generation: first.generation }
      group.sync(old, new Map([['one', { partitions: [AT], waitsFor: null }]]), () => undefined)
      group.commit([{ ...AT, offset: 1, metadata: '' }], old)

      join('two')
      // They are told to join again, and may finish meanwhile.
      refused('REBALANCE_IN_PROGRESS', () => group.heartbeat(old))
      group.commitInTransaction([{ ...AT, offset: 2, metadata: '' }], old, 1)
      const second = join('one')()
      assert.equal(second.generation, first.generation + 1)
      refused('ILLEGAL_GENERATION', () => {
        group.commitInTransaction([{ ...AT, offset: 3, metadata: '' }], old, 1)
      })
    })

    it('drop who is not heard of for a session, and who does not join again in time', () => {
      const group = cluster.group('group')
      const { generation } = join('silent')()
      const silent = { groupId: 'group', memberId: 'silent', generation }
      group.sync(silent, new Map(), () => undefined)
      wire.advance(7_000)
      refused('UNKNOWN_MEMBER_ID', () => group.heartbeat(silent))
      assert(join('other')().generation > generation)
    })

    it('hold offsets of a transaction until its marker, and what is committed later wins', () => {
      const group = cluster.group('group')
      group.commitInTransaction([{ ...AT, offset: 5, metadata: '' }], null, 1)
      refused('UNSTABLE_OFFSET_COMMIT', () => group.fetch([AT], true))
      assert.deepEqual(group.fetch([AT], false), [null])
      group.commitInTransaction([{ ...AT, offset: 9, metadata: '' }], null, 2)
      group.writeMarker(2, 0, 'commit')
      group.writeMarker(1, 0, 'commit')
      assert.equal(group.fetch([AT], true)[0]!.offset, 9)
    })
  })
})
