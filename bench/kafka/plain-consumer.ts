/**
 * Plain KafkaJS, as its documentation has it: `eachBatch` over the whole topic, keys and amounts read,
 * counted by key and window in a Map. No state that survives, no transactions, no output.
 * BROKERS TOPIC COUNT
 */
import { Kafka, logLevel } from 'kafkajs'

const [brokers, topic, count] = process.argv.slice(2)
const WINDOW_MICROS = 300_000_000
const kafka = new Kafka({ brokers: brokers!.split(','), logLevel: logLevel.ERROR })
const consumer = kafka.consumer({ groupId: `plain-${process.pid}`, maxBytesPerPartition: 1024 * 1024 })
const totals = new Map<string, { count: number; sum: number }>()
let remaining = Number(count)
const done = Promise.withResolvers<undefined>()

function varint(buffer: Buffer, from: { position: number }): number {
  let value = 0
  let scale = 1
  for (;;) {
    const next = buffer[from.position++]!
    value += (next & 0x7f) * scale
    if (next < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    scale *= 128
  }
}

await consumer.connect()
await consumer.subscribe({ topic: topic!, fromBeginning: true })
await consumer.run({
  partitionsConsumedConcurrently: 8,
  eachBatch: ({ batch }) => {
    for (const { key, value } of batch.messages) {
      const from = { position: 0 }
      const keyLength = varint(value!, from)
      from.position += keyLength
      const window = Math.floor(varint(value!, from) / WINDOW_MICROS)
      const name = `${key!.toString()} ${window}`
      let total = totals.get(name)
      if (total === undefined) totals.set(name, (total = { count: 0, sum: 0 }))
      total.count++
      total.sum += value!.readDoubleLE(from.position)
    }
    remaining -= batch.messages.length
    if (remaining <= 0) done.resolve(undefined)
    return Promise.resolve()
  },
})
await done.promise
console.log([...totals.values()].reduce((sum, total) => sum + total.count, 0))
process.exit(0)
