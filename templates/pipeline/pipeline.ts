import { avg, contract, count, definePipeline, double, optional } from 'millrace'
import { source, string, sum, table, timestamp, tumbling } from 'millrace'

// What an order has to look like. What does not becomes a dead letter, with its file, line and reason.
const order = contract(
  'Order',
  {
    order_id: string(),
    amount: double({ cast: 'text' }),
    country: optional(string()),
    timestamp: timestamp(),
  },
  { id: ['order_id'], key: 'order_id', eventTime: 'timestamp', disorder: '1h' },
)

export default definePipeline({
  name: 'shop',
  sources: { orders: source('orders', order) },
  build({ orders }) {
    orders.to(table('shop.orders'))
    orders
      .groupBy('country')
      .window(tumbling('1h', { grace: '5m' }))
      .aggregate('hourly', { orders: count(), revenue: sum((o) => o.amount), mean: avg((o) => o.amount) })
      .to(table('shop.hourly', { clusterBy: ['country'] }))
  },
  queries: {
    hourly: { description: 'each hour, by country', sql: 'from shop.hourly order by window_start, country' },
  },
})
