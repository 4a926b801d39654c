/** Named SQL for `millrace query orders <name>`. Times are UTC. */
export const queries = {
  summary: {
    description: 'Orders, revenue, windows and alerts in all',
    sql: `SELECT
  (SELECT count(*) FROM ecommerce_orders.orders) AS orders,
  (SELECT round(sum(amount), 2) FROM ecommerce_orders.orders) AS revenue,
  (SELECT count(*) FROM dead_letters) AS invalid,
  (SELECT count(*) FROM ecommerce_orders.hourly_metrics) AS windows,
  (SELECT count(*) FROM ecommerce_orders.order_alerts WHERE alert_type = 'DROP') AS drops,
  (SELECT count(*) FROM ecommerce_orders.order_alerts WHERE alert_type = 'SPIKE') AS spikes`,
  },
  'last-hour': {
    description: 'The last hour by the clock, window by window',
    sql: `SELECT window_start, order_count, round(total_revenue, 2) AS total_revenue, round(avg_order_value, 2) AS avg_order_value
FROM ecommerce_orders.hourly_metrics
WHERE window_start >= (now() AT TIME ZONE 'UTC') - INTERVAL 1 HOUR
ORDER BY window_start DESC`,
  },
  'latest-windows': {
    description: 'The last twelve windows that hold an order',
    sql: `SELECT window_start, order_count, round(total_revenue, 2) AS total_revenue, round(avg_order_value, 2) AS avg_order_value
FROM ecommerce_orders.hourly_metrics
WHERE order_count > 0
ORDER BY window_start DESC
LIMIT 12`,
  },
  today: {
    description: "Today's orders by country and status",
    sql: `SELECT country, status, count(*) AS orders, round(sum(amount), 2) AS revenue
FROM ecommerce_orders.orders
WHERE CAST(processed_at AS DATE) = CAST(now() AT TIME ZONE 'UTC' AS DATE)
GROUP BY ALL
ORDER BY revenue DESC`,
  },
  alerts: {
    description: 'The last twenty alerts',
    sql: `SELECT * FROM ecommerce_orders.order_alerts ORDER BY window_start DESC LIMIT 20`,
  },
  invalid: {
    description: 'Why records were refused, and how many',
    sql: `SELECT reason, field, count(*) AS records FROM dead_letters GROUP BY ALL ORDER BY records DESC LIMIT 20`,
  },
} as const
