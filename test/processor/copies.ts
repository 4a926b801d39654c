import { definePipeline, source } from '../../processor/topology/pipeline.ts'
import { contract } from '../../schemas/contract.ts'
import { table } from '../../schemas/destinations.ts'
import { string, timestamp } from '../../schemas/schema.ts'

export const START = Date.UTC(2026, 0, 1)

const event = contract(
  'Event',
  { id: string(), happened: timestamp() },
  { id: ['id'], key: 'id', eventTime: 'happened', disorder: 0 },
)

/** The least that has state: every event once, in a table. */
export const copies = definePipeline({
  name: 'copies',
  sources: { events: source('events', event) },
  build: ({ events }) => events.to(table('d.copies')),
})
