import assert from 'node:assert/strict'
import { groupByTopic } from '../../../../log/kafkajs/hardening/quadratic-grouping.ts'
import { kafkajs } from '../record-batch/kafkajs.ts'

/** How often a run reads or writes an element of the array that it is given, and of those that it makes of it. */
function elementsCopiedByKafkaJs(count: number): number {
  const group = kafkajs('producer/groupMessagesPerPartition')
  const iterate = Array.prototype[Symbol.iterator]
  let copied = 0
  Array.prototype[Symbol.iterator] = function (this: unknown[]) {
    copied += this.length
    return iterate.call(this)
  }
  try {
    group({
      topic: 't',
      partitionMetadata: [0],
      messages: Array.from({ length: count }, () => ({})),
      partitioner: () => 0,
    })
  } finally {
    Array.prototype[Symbol.iterator] = iterate
  }
  return copied
}

/** How often the topic of an item is looked at. */
function looksAtItems(count: number): number {
  let looks = 0
  const item = {
    get topic(): string {
      looks++
      return 't'
    },
  }
  groupByTopic(Array.from({ length: count }, () => item))
  return looks
}

describe('grouping what is sent', () => {
  it('costs twice as much for twice as much; in KafkaJS four times', () => {
    const theirs = elementsCopiedByKafkaJs(4_000) / elementsCopiedByKafkaJs(2_000)
    assert.ok(theirs > 3.9, `KafkaJS: ${theirs}`)
    // Two looks for the first of a topic, one for every other.
    assert.ok(looksAtItems(20_000) <= 2 * 20_000)
  })

  it('keeps the order within a topic, and that of the topics', () => {
    const items = ['b', 'a', 'b', 'c', 'a'].map((topic, i) => ({ topic, i }))
    assert.deepEqual(
      groupByTopic(items).map(([topic, group]) => [topic, group.map(({ i }) => i)]),
      [
        ['b', [0, 2]],
        ['a', [1, 4]],
        ['c', [3]],
      ],
    )
  })
})
