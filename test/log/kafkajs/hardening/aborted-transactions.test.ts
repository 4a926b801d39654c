import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../../config/test-scale.ts'
import type { AbortedTransaction } from '../../../../log/kafkajs/hardening/aborted-transactions.ts'
import {
  decode,
  encode,
  kafkaJsDecode,
  marker,
  stored,
  textRecord,
  valuesOf,
} from '../record-batch/support.ts'
import { kafkajs } from '../record-batch/kafkajs.ts'

const sent = (producerId: number, baseOffset: number, value: string, key: string | null = null): Buffer =>
  stored(encode([textRecord(value, key)], { producerId, isTransactional: true }), { baseOffset })

/** The values that KafkaJS's consumer would see of it. */
async function kafkaJsValues(
  records: Buffer,
  fetchOffset: number,
  aborted: AbortedTransaction[],
): Promise<string[]> {
  const Batch = kafkajs('consumer/batch')
  const batch = new Batch('t', String(fetchOffset), {
    partition: 0,
    highWatermark: '1000',
    messages: await kafkaJsDecode(records),
    abortedTransactions: aborted.map(({ producerId, firstOffset }) => ({
      producerId: String(producerId),
      firstOffset: String(firstOffset),
    })),
  })
  return batch.messages.map(({ value }) => String(value))
}

interface Leak {
  readonly name: string
  readonly records: Buffer[]
  readonly fetchOffset: number
  readonly aborted: AbortedTransaction[]
}

const leaks: Leak[] = [
  {
    // Transaction 2 began first and ended last; the broker lists them as they ended.
    name: 'the broker lists them by where they ended',
    records: [
      sent(2, 0, 'aborted'),
      sent(1, 1, 'aborted'),
      marker('abort', 1, 2),
      sent(2, 3, 'aborted'),
      marker('abort', 2, 4),
      sent(3, 5, 'committed'),
      marker('commit', 3, 6),
    ],
    fetchOffset: 0,
    aborted: [
      { producerId: 1, firstOffset: 1 },
      { producerId: 2, firstOffset: 0 },
    ],
  },
  {
    name: 'two of them were open before the fetch began',
    records: [
      sent(2, 10, 'aborted'),
      sent(1, 11, 'aborted'),
      sent(3, 12, 'committed'),
      marker('abort', 1, 13),
      marker('abort', 2, 14),
      marker('commit', 3, 15),
    ],
    fetchOffset: 10,
    aborted: [
      { producerId: 1, firstOffset: 3 },
      { producerId: 2, firstOffset: 5 },
    ],
  },
  {
    name: "a record's own key looks like an abort marker's",
    records: [
      sent(1, 0, 'aborted', '\0\0\0\0'),
      sent(1, 1, 'aborted'),
      marker('abort', 1, 2),
      sent(3, 3, 'committed', '\0\0\0\0'),
      marker('commit', 3, 4),
    ],
    fetchOffset: 0,
    aborted: [{ producerId: 1, firstOffset: 0 }],
  },
]

describe('records of aborted transactions', () => {
  for (const { name, records, fetchOffset, aborted } of leaks) {
    it(`are never seen when ${name}; KafkaJS shows them`, async () => {
      const fetched = Buffer.concat(records)
      assert.ok((await kafkaJsValues(fetched, fetchOffset, aborted)).includes('aborted'))
      assert.deepEqual(valuesOf(decode(fetched, { fetchOffset, aborted })), ['committed'])
    })
  }

  it('are those that were sent in it: what the same producer sent outside of it stays', () => {
    const outside = stored(encode([textRecord('outside')], { producerId: 1 }), { baseOffset: 1 })
    const fetched = Buffer.concat([sent(1, 0, 'aborted'), outside, marker('abort', 1, 2)])
    assert.deepEqual(valuesOf(decode(fetched, { aborted: [{ producerId: 1, firstOffset: 0 }] })), ['outside'])
  })

  it('are never seen, and all others are, however transactions lie across each other and wherever a fetch begins', () => {
    // A step of one of four producers: a record, or the end of its transaction; the fifth sends outside of any.
    const step = fc.record({
      producer: fc.nat(4),
      does: fc.constantFrom('send', 'send', 'send', 'commit', 'abort'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), fc.nat(999), (steps, from) => {
        const log = makeLog(steps)
        const fetchOffset = Math.floor((from / 1_000) * log.length)
        // As a broker answers: what ended at or after the fetch offset, by its end.
        const aborted = log.flatMap(({ ended }, offset) =>
          offset >= fetchOffset && ended?.type === 'abort' && ended.firstOffset !== null
            ? [{ producerId: ended.producerId, firstOffset: ended.firstOffset }]
            : [],
        )
        const decoded = decode(Buffer.concat(log.slice(fetchOffset).map(({ bytes }) => bytes)), {
          fetchOffset,
          aborted,
        })
        assert.deepEqual(
          valuesOf(decoded),
          log.slice(fetchOffset).flatMap(({ value, isVisible }) => (isVisible ? [value] : [])),
        )
        assert.equal(decoded.nextOffset, log.length)
      }),
      { numRuns: testScale.propertyRuns },
    )
  })
})

interface Entry {
  readonly bytes: Buffer
  readonly value: string | null
  readonly ended: { type: 'commit' | 'abort'; producerId: number; firstOffset: number | null } | null
  isVisible: boolean
}

/** A log up to its last stable offset: every transaction is ended at last. */
function makeLog(steps: readonly { producer: number; does: string }[]): Entry[] {
  const log: Entry[] = []
  const open = new Map<number, { firstOffset: number; entries: Entry[] }>()
  const end = (producerId: number, type: 'commit' | 'abort'): void => {
    const transaction = open.get(producerId)
    open.delete(producerId)
    const firstOffset = transaction?.firstOffset ?? null
    const bytes = marker(type, producerId, log.length)
    log.push({ bytes, value: null, ended: { type, producerId, firstOffset }, isVisible: false })
    for (const entry of transaction?.entries ?? []) entry.isVisible = type === 'commit'
  }
  for (const { producer, does } of steps) {
    if (does !== 'send' && producer !== 4) {
      end(producer, does as 'commit' | 'abort')
      continue
    }
    const isTransactional = producer !== 4
    const value = `${producer}@${log.length}`
    const batch = encode([textRecord(value)], { producerId: producer, isTransactional })
    const entry: Entry = {
      bytes: stored(batch, { baseOffset: log.length }),
      value,
      ended: null,
      isVisible: true,
    }
    if (isTransactional) {
      const transaction = open.get(producer) ?? { firstOffset: log.length, entries: [] }
      transaction.entries.push(entry)
      open.set(producer, transaction)
    }
    log.push(entry)
  }
  for (const producerId of [...open.keys()]) end(producerId, 'abort')
  return log
}
