/**
 * Counts and sums by key in five-minute windows, an update with each commit: what a stream processor is measured
 * by. An ordinary pipeline:
 *
 * *   KAFKA_BROKERS=… REDIS_URL=… TOPIC_IN=… TOPIC_OUT=… GROUP=… COMMIT_MS=… npx millrace process bench/windowed-totals.ts
 *
 * TOPIC_IN holds bare Avro of the contract below, keyed by `key`; TOPIC_OUT gets JSON.
 */
import { definePipeline, source } from '../processor/topology/pipeline.ts'
import { count, sum } from '../processor/windows/aggregates.ts'
import { tumbling } from '../processor/windows/tumbling.ts'
import { contract } from '../schemas/contract.ts'
import { topic } from '../schemas/destinations.ts'
import { double, long, schema, string, timestamp } from '../schemas/schema.ts'

export const event = contract(
  'Event',
  {
    key: string(),
    event_time: timestamp(),
    amount: double(),
    // Brings an event to the size of those in the field.
    payload: string(),
  },
  {
    id: ['key', 'event_time'],
    key: 'key',
    eventTime: 'event_time',
    // As Kafka Streams has it: the greatest event time so far is the stream's.
    disorder: 0,
    // Events may be of any time: they are made up.
    maxAge: '100y',
    maxAhead: '100y',
  },
)

const totals = schema('Totals', { key: string(), window_start: timestamp(), count: long(), sum: double() })

// eslint-disable-next-line no-restricted-syntax -- a pipeline is its file's default export
export default definePipeline({
  name: process.env['GROUP'] ?? 'windowed-totals',
  sources: {
    events: source('events', event, {
      topic: process.env['TOPIC_IN'] ?? 'windowed-totals-in',
      encoding: 'bare',
    }),
  },
  build({ events }) {
    events
      .groupBy('key')
      .window(tumbling('5m', { grace: '30s' }))
      .aggregate('windows', { count: count(), sum: sum(({ amount }) => amount) }, { emit: 'updates' })
      .map((row) => ({ key: row.key, window_start: row.window_start, count: row.count, sum: row.sum }), {
        as: totals,
      })
      .to(topic('totals', { format: 'json', topic: process.env['TOPIC_OUT'] ?? 'windowed-totals-out' }))
  },
})
