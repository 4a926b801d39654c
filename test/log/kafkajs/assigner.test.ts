import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  assignGroup,
  decodeAssignment,
  decodeClaim,
  encodeAssignment,
  encodeClaim,
  type MemberClaim,
} from '../../../log/kafkajs/assigner.ts'
import type { TopicPartition } from '../../../log/port.ts'
import { nameOf } from '../../contract/log/support.ts'

const COUNTS: Record<string, number> = { orders: 12, payments: 12, clicks: 7, few: 2 }
const TOPICS = [['orders', 'payments'], ['clicks'], ['few']]
const partitionsOf = (topic: string): number => COUNTS[topic]!
const ALL = Object.entries(COUNTS)
  .flatMap(([topic, count]) => Array.from({ length: count }, (_, partition) => nameOf({ topic, partition })))
  .sort()

type Members = Map<string, MemberClaim>

function assign(members: Members): Map<string, TopicPartition[]> {
  const shares = assignGroup(
    [...members].map(([memberId, claim]) => ({ memberId, claim })),
    partitionsOf,
  )
  return new Map([...shares].map(([memberId, { partitions }]) => [memberId, [...partitions]]))
}

function joined(members: Members, generation: number): Members {
  return new Map(
    [...assign(members)].map(([memberId, previous]) => [
      memberId,
      { topics: TOPICS, cohort: '', previous, previousGeneration: generation },
    ]),
  )
}

const fresh = (): MemberClaim => ({ topics: TOPICS, cohort: '', previous: [], previousGeneration: -1 })
const changes = fc.array(fc.record({ joins: fc.boolean(), who: fc.nat(20) }), { minLength: 1, maxLength: 15 })

/** A group's life: members come and go, one at a time. Gives each generation with the one before it. */
function life(
  steps: { joins: boolean; who: number }[],
  check: (before: Members, after: Members) => void,
): void {
  let members: Members = joined(new Map([['m0', fresh()]]), 1)
  let generation = 1
  let names = 1
  for (const { joins, who } of steps) {
    const changed = new Map(members)
    if (joins || members.size === 1) changed.set(`m${names++}`, fresh())
    else changed.delete([...members.keys()][who % members.size]!)
    const after = joined(changed, ++generation)
    check(changed, after)
    members = after
  }
}

describe('the sharing out of partitions in a group', () => {
  it('gives every partition to one member, equal numbers that belong together to the same, and is even', () => {
    fc.assert(
      fc.property(changes, (steps) => {
        life(steps, (_, after) => {
          const shares = [...after.values()].map(({ previous }) => previous)
          assert.deepEqual(shares.flat().map(nameOf).sort(), ALL)
          for (const [first] of TOPICS) {
            const counts = shares.map((share) => share.filter(({ topic }) => topic === first).length)
            assert(Math.max(...counts) - Math.min(...counts) <= 1, `${first!}: ${counts.join()}`)
          }
          for (const share of shares) {
            const numbers = (topic: string): number[] =>
              share.filter((p) => p.topic === topic).map(({ partition }) => partition)
            assert.deepEqual(numbers('orders'), numbers('payments'))
          }
        })
      }),
    )
  })

  it('moves only what has to move', () => {
    fc.assert(
      fc.property(changes, (steps) => {
        life(steps, (before, after) => {
          for (const [first] of TOPICS) {
            const had = (memberId: string): string[] =>
              (before.get(memberId)?.previous ?? []).filter(({ topic }) => topic === first).map(nameOf)
            for (const [memberId, { previous }] of after) {
              const has = previous.filter(({ topic }) => topic === first).map(nameOf)
              const kept = had(memberId).filter((name) => has.includes(name)).length
              // Either it keeps all that it had, or it is given nothing new beside what it keeps.
              assert(kept === had(memberId).length || kept === has.length, `${memberId}: ${has.join()}`)
            }
          }
        })
      }),
    )
  })

  it('is the same again where nobody came or went, in whatever order the members are named', () => {
    fc.assert(
      fc.property(changes, fc.nat(), (steps, seed) => {
        life(steps, (_, after) => {
          const rotated = [...after]
          rotated.push(...rotated.splice(0, seed % rotated.length))
          for (const [memberId, partitions] of assign(new Map(rotated))) {
            assert.deepEqual(partitions, after.get(memberId)!.previous)
          }
        })
      }),
    )
  })

  it('believes the latest generation where two claim the same', () => {
    const all = Array.from({ length: 2 }, (_, partition) => ({ topic: 'few', partition }))
    const topics = [['few']]
    const members: Members = new Map([
      ['late', { topics, cohort: '', previous: all, previousGeneration: 3 }],
      ['owner', { topics, cohort: '', previous: all.slice(1), previousGeneration: 5 }],
    ])
    assert.deepEqual(assign(members).get('owner'), all.slice(1))
    assert.deepEqual(assign(members).get('late'), all.slice(0, 1))
  })

  it('is told to members and by them in bytes', () => {
    const partitions = [
      { topic: 'orders', partition: 3 },
      { topic: 'ordres-é', partition: 0 },
    ]
    const claim: MemberClaim = { topics: TOPICS, cohort: 'v2', previous: partitions, previousGeneration: 7 }
    assert.deepEqual(decodeClaim(encodeClaim(claim)), claim)
    const share = { partitions, waitsFor: null }
    assert.deepEqual(decodeAssignment(encodeAssignment(share)), share)
    const waiting = { partitions: [], waitsFor: 'v1' }
    assert.deepEqual(decodeAssignment(encodeAssignment(waiting)), waiting)
  })
})
