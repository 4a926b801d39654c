// Compiled, never run: what a pipeline's author must be told before anything starts.
import { day, table, topic } from '../../schemas/destinations.ts'
import { double, long, schema, string, timestamp } from '../../schemas/schema.ts'
import { definePipeline, source } from '../../processor/topology/pipeline.ts'
import { avg, count, sum } from '../../processor/windows/aggregates.ts'
import { first, last } from '../../processor/windows/first-last.ts'
import { reduce } from '../../processor/windows/reduce.ts'
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

    const { large, rest } = orders.branch({ large: (o) => o.amount > 100, rest: true })
    large.merge('again', rest).to(table('d.again', { clusterBy: ['country'] }))
    // @ts-expect-error a branch that there is none of
    orders.branch({ large: (o) => o.amount > 100 }).small
    // @ts-expect-error a field that the record does not have
    orders.branch({ large: (o) => o.price > 100 })
    // @ts-expect-error a predicate says true or false
    orders.branch({ large: (o) => o.amount })
    // @ts-expect-error streams of other fields
    orders.merge('mixed', metrics)
    // @ts-expect-error a merge has a name
    large.merge(rest)
    // @ts-expect-error and something to merge with
    large.merge('alone')
    orders.peek((o) => o.amount)
    // @ts-expect-error a field that the record does not have
    orders.peek((o) => o.price)

    const edges = orders
      .groupBy('country')
      .window(tumbling('1h'))
      .aggregate('edges', {
        status: last((o) => o.status, string()),
        opened: first((o) => o.timestamp, timestamp()),
        largest: reduce((o) => o.amount, Math.max, double()),
      })
    edges.map((e) => ({ text: e.status ?? '', orders: e.opened ?? 0 }), { as: note })
    // @ts-expect-error the last of no values is null
    edges.map((e) => ({ text: e.status, orders: 0 }), { as: note })
    // @ts-expect-error a text is no number
    orders.window(tumbling('1h')).aggregate('wrong', { status: last((o) => o.status, long()) })
    // @ts-expect-error the function does not take what is reduced
    orders.window(tumbling('1h')).aggregate('wrong', { most: reduce((o) => o.status, Math.max, string()) })
    // @ts-expect-error the function does not give what is reduced
    orders.window(tumbling('1h')).aggregate('wrong', { most: reduce((o) => o.amount, String, double()) })

    const whole = { of: (o: { order_id: string }) => ({ text: o.order_id, orders: 1 }), as: note }
    const reduced = orders.groupBy('country').window(tumbling('1h'))
    reduced.reduce('whole', { ...whole, combine: (a) => a }).filter((w) => w.orders > 0 && w.country !== null)
    // @ts-expect-error a column that the rows do not have
    reduced.reduce('whole', { ...whole, combine: (a) => a }).filter((w) => w.order_id === '')
    // @ts-expect-error the row lacks a field of its schema
    reduced.reduce('whole', { of: (o) => ({ text: o.order_id }), combine: (a) => a, as: note })
    // @ts-expect-error what is given is not to be changed
    reduced.reduce('whole', { ...whole, combine: (a) => ((a.orders = 1), a) })
    metrics.to(topic('busy', { notify: { text: (m) => `${m.orders} orders`, runsOf: ['window_start'] } }))
    // @ts-expect-error a column that the rows do not have
    metrics.to(topic('quiet', { notify: { text: () => 'quiet', runsOf: ['alert_type'] } }))
    // @ts-expect-error a field that the rows do not have
    metrics.to(topic('silent', { notify: { text: (m) => (m.amount > 0 ? 'much' : 'little') } }))
    metrics.late.filter((l) => l.amount > 0 && l.late_mark === 'watermark').to(topic('late'))
  },
})
