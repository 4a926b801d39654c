// Compiled, never run: what a pipeline's author must be told before anything starts.
import { day, table, topic } from '../../schemas/destinations.ts'
import { long, schema, string } from '../../schemas/schema.ts'
import { definePipeline, source } from '../../processor/topology/pipeline.ts'
import { avg, count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { order } from '../../pipelines/orders/contract.ts'

const note = schema('Note', { text: string(), orders: long() })

definePipeline({
  name: 'types',
  sources: { orders: source('order-events', order) },
  build({ orders }) {
    orders.stamp('seen_at').to(table('d.right', { partitionBy: day('seen_at'), clusterBy: ['country'] }))
    // @ts-expect-error a column that the stream does not have
    orders.to(table('d.wrong_partition', { partitionBy: day('seen_at') }))
    // @ts-expect-error a column that the stream does not have
    orders.to(table('d.wrong_cluster', { clusterBy: ['countri'] }))
    // @ts-expect-error a field that the record does not have
    orders.filter((o) => o.price > 3)
    // @ts-expect-error an aggregate over a text
    orders.window(tumbling('5m')).aggregate('wrong', { total: sum((o) => o.country) })

    const metrics = orders.window(tumbling('5m')).aggregate('metrics', {
      orders: count(),
      mean: avg((o) => o.amount),
    })
    metrics.map((m) => ({ text: String(m.mean ?? 0), orders: m.orders }), { as: note }).to(topic('notes'))
    // @ts-expect-error the function's result does not fit the schema that it names
    metrics.map((m) => ({ text: m.orders, orders: m.orders }), { as: note })
    // @ts-expect-error the mean of an empty window is null
    metrics.map((m) => ({ text: m.mean.toFixed(2), orders: m.orders }), { as: note })
    // @ts-expect-error an aggregate's row does not have the fields of the records that it folded
    metrics.filter((m) => m.amount > 0)

    orders
      .window(tumbling('5m'))
      .aggregate('running', { orders: count() }, { emit: 'updates' })
      .to(table('d.running', { key: ['window_start'] }))
    // @ts-expect-error aggregates emit final rows or updates
    orders.window(tumbling('5m')).aggregate('sometimes', { orders: count() }, { emit: 'sometimes' })
    // @ts-expect-error a key column that the stream does not have
    orders.to(table('d.wrong_key', { key: ['order'] }))

    const byCountry = orders
      .groupBy('country')
      .window(tumbling('1h'))
      .aggregate('by-country', { orders: count() })
    byCountry.to(table('d.by_country', { partitionBy: day('window_start'), clusterBy: ['country'] }))
    // @ts-expect-error a column to group by that the stream does not have
    orders.groupBy('land')
    metrics.late.filter((l) => l.amount > 0 && l.late_mark === 'watermark').to(topic('late'))
  },
})
