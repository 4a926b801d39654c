import assert from 'node:assert/strict'
import fc from 'fast-check'
import { assignPartitions, assignToCohort, runningCohort, type AssignedMember } from '../../log/assignor.ts'
import type { TopicPartition } from '../../log/port.ts'

const COUNTS: Record<string, number> = { a: 5, b: 5, c: 8, d: 1, e: 3 }
const LISTS = [['a', 'b'], ['c'], ['d', 'e']]
const partitionsOf = (topic: string): number => COUNTS[topic]!
const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}${partition}`

function members(
  count: number,
  previous: ReadonlyMap<string, TopicPartition[]> = new Map(),
): AssignedMember[] {
  return Array.from({ length: count }, (_, i) => ({
    memberId: `m${i}`,
    topics: LISTS,
    previous: previous.get(`m${i}`) ?? [],
  }))
}

describe('assignPartitions', () => {
  it('gives every partition to one member, evenly, equal numbers together, from whatever was before', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6, size: 'max' }),
        (sizes) => {
          let assigned = new Map<string, TopicPartition[]>()
          for (const size of sizes) {
            assigned = assignPartitions(members(size, assigned), partitionsOf)
            const all = [...assigned.values()].flat().map(nameOf)
            const expected = Object.entries(COUNTS).flatMap(([topic, n]) =>
              Array.from({ length: n }, (_, p) => `${topic}${p}`),
            )
            assert.deepEqual(all.sort(), expected.sort())
            for (const list of LISTS) {
              const shares = [...assigned.values()].map((own) => {
                const numbers = list.map((topic) =>
                  own.filter((p) => p.topic === topic).map((p) => p.partition),
                )
                const least = Math.min(...list.map(partitionsOf))
                for (const n of numbers)
                  assert.deepEqual(
                    n.filter((p) => p < least),
                    numbers[0]!.filter((p) => p < least),
                  )
                return Math.max(...numbers.map(({ length }) => length))
              })
              assert(Math.max(...shares) - Math.min(...shares) <= 1, `${list.join()}: ${shares.join()}`)
            }
          }
        },
      ),
    )
  })

  it('moves nothing when nothing changes', () => {
    for (let size = 1; size < 6; size++) {
      const first = assignPartitions(members(size), partitionsOf)
      assert.deepEqual(assignPartitions(members(size, first), partitionsOf), first)
    }
  })

  it('moves only what a new member takes, and what a leaver had', () => {
    const list = [['c']]
    const of = (count: number, previous: ReadonlyMap<string, TopicPartition[]>): AssignedMember[] =>
      members(count, previous).map((member) => ({ ...member, topics: list }))
    const two = assignPartitions(of(2, new Map()), partitionsOf)
    const three = assignPartitions(of(3, two), partitionsOf)
    for (const id of ['m0', 'm1']) {
      const had = two.get(id)!.map(nameOf)
      assert(three.get(id)!.every((p) => had.includes(nameOf(p))))
    }
    const back = assignPartitions(of(2, three), partitionsOf)
    for (const id of ['m0', 'm1']) {
      const has = back.get(id)!.map(nameOf)
      assert(three.get(id)!.every((p) => has.includes(nameOf(p))))
    }
  })

  it('leaves members without partitions where there are too few', () => {
    const assigned = assignPartitions(members(20), partitionsOf)
    assert.equal(assigned.size, 20)
    assert.equal([...assigned.values()].filter(({ length }) => length === 0).length > 0, true)
  })
})

describe('assignToCohort', () => {
  const had = [{ topic: 'a', partition: 0 }]
  const member = (cohort: string, previousGeneration = -1, previous: TopicPartition[] = []) => ({
    cohort,
    previousGeneration,
    previous,
  })

  it('lets go on who has the partitions, however few they are and whatever they are called', () => {
    const waiting = [member('a', 8), member('a', 8)]
    assert.equal(runningCohort([...waiting, member('z', 7, had)]), 'z')
    assert.equal(runningCohort([member('y', 6, had), member('z', 7, had), member('y', 6, had)]), 'z')
  })

  it('lets the larger begin, or the first by name', () => {
    assert.equal(runningCohort([member('a'), member('b'), member('b')]), 'b')
    assert.equal(runningCohort([member('b'), member('a')]), 'a')
    assert.equal(runningCohort([member('b', 3), member('a', 4)]), 'a')
  })

  it('gives all to one cohort, and tells the others whom they wait for', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('v1', 'v2', 'v3'), { minLength: 1, maxLength: 8 }), (cohorts) => {
        const joining = cohorts.map((cohort, i) => ({ ...member(cohort), memberId: `m${i}`, topics: LISTS }))
        const shares = assignToCohort(joining, partitionsOf)
        const running = runningCohort(joining)
        const total = [...shares.values()].reduce((sum, { partitions }) => sum + partitions.length, 0)
        assert.equal(
          total,
          Object.values(COUNTS).reduce((sum, count) => sum + count, 0),
        )
        for (const { memberId, cohort } of joining) {
          const { partitions, waitsFor } = shares.get(memberId)!
          assert.equal(waitsFor, cohort === running ? null : running)
          assert(cohort === running || partitions.length === 0)
        }
      }),
    )
  })
})
