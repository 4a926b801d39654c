import { day, table, topic } from '../../schemas/destinations.ts'
import { definePipeline, source } from '../../processor/topology/pipeline.ts'
import { avg, count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { alerting, stalled, thresholdsOf } from './alerts.ts'
import { alert, order, type OrderAlert } from './contract.ts'
import { orderMaker } from './generator.ts'
import { processOrderAlerts } from './process-order-alerts.ts'
import { queries } from './queries.ts'

/**
 * Orders as they come, metrics every five minutes over all of them, and an alert where a window
 * holds too many or too few, a window without any order included, or where nothing comes any more.
 */
export default definePipeline({
  name: 'orders',
  dataset: 'ecommerce_orders',
  sources: { orders: source('order-events', order) },
  queries,
  build({ orders }) {
    orders.stamp('processed_at').to(
      table('ecommerce_orders.orders', {
        partitionBy: day('processed_at'),
        clusterBy: ['country'],
        description: 'Every order once, as it came',
        descriptions: {
          order_id: 'Identifies the order',
          customer_id: 'Who ordered',
          amount: 'Value of the order; negative where goods came back',
          status: 'pending, confirmed, delivered, cancelled, …',
          country: 'Where the order came from',
          timestamp: 'When the order was made (event time), where the event says so',
          processed_at: 'When the pipeline took it in',
        },
      }),
    )

    const metrics = orders.window(tumbling('5m', { grace: '30s', emptyWindows: true })).aggregate('metrics', {
      order_count: count(),
      total_revenue: sum((o) => o.amount),
      avg_order_value: avg((o) => o.amount),
    })
    metrics.stamp('calculated_at').to(
      table('ecommerce_orders.hourly_metrics', {
        partitionBy: day('window_start'),
        description: 'One row for every five minutes, empty ones included',
        descriptions: {
          window_start: 'Start of the window (inclusive)',
          window_end: 'End of the window (exclusive)',
          order_count: 'Orders in the window',
          total_revenue: 'Sum of their amounts',
          avg_order_value: 'Their mean; null in an empty window',
          calculated_at: 'When the window was closed',
        },
      }),
    )

    const alerts = topic<OrderAlert>('order-alerts', {
      descriptions: {
        alert_type: 'SPIKE: more orders than usual; DROP: fewer; STALLED: the source is silent',
        window_start: 'Start of the window, or when the source was heard of last',
        window_end: 'End of the window, or when its silence was noticed',
        order_count: 'Orders in the window',
      },
      notify: processOrderAlerts,
    })
    const thresholds = thresholdsOf(process.env)
    metrics.flatMap(alerting(thresholds), { as: alert }).to(alerts)
    orders
      .stalls('orders-stalled', { after: thresholds.stalledAfterMs })
      .map(stalled, { as: alert })
      .to(alerts)
  },
})

/** What each source's generator makes. */
export const generators = { orders: orderMaker }
