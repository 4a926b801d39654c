/**
 * The reference: what a person would write without a framework. The same NDJSON, de-duplicated in a
 * Map, aggregated in five-minute windows, the same rows appended to DuckDB. No durability, no
 * recovery, no bound on memory.
 * Usage: node bench/plain-orders.ts INPUT.ndjson OUTPUT.duckdb
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { DuckDBInstance, DuckDBTimestampValue } from '@duckdb/node-api'

const [input, output] = process.argv.slice(2) as [string, string]
const FIVE_MINUTES = 300_000

interface Order {
  order_id: string
  customer_id: string
  amount: number | string
  status?: string
  country?: string
  timestamp: string
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

const instance = await DuckDBInstance.create(output)
const connection = await instance.connect()
await connection.run('CREATE SCHEMA ecommerce_orders')
await connection.run(
  `CREATE TABLE ecommerce_orders.orders (order_id VARCHAR, customer_id VARCHAR, amount DOUBLE, status VARCHAR,
   country VARCHAR, "timestamp" TIMESTAMP, processed_at TIMESTAMP)`,
)
await connection.run(
  `CREATE TABLE ecommerce_orders.hourly_metrics (window_start TIMESTAMP, window_end TIMESTAMP, order_count BIGINT,
   total_revenue DOUBLE, avg_order_value DOUBLE, calculated_at TIMESTAMP)`,
)
const micros = (ms: number): DuckDBTimestampValue => new DuckDBTimestampValue(BigInt(ms) * 1000n)

const seen = new Map<string, true>()
const windows = new Map<number, { count: number; revenue: number }>()
let invalid = 0
const appender = await connection.createAppender('orders', 'ecommerce_orders')
for await (const line of createInterface({ input: createReadStream(input) })) {
  let order: Order
  try {
    order = JSON.parse(line) as Order
  } catch {
    invalid++
    continue
  }
  const amount = Number(order.amount)
  if (!isText(order.order_id) || !isText(order.customer_id) || !Number.isFinite(amount)) {
    invalid++
    continue
  }
  const id = `${order.order_id}/${order.status}`
  if (seen.has(id)) continue
  seen.set(id, true)
  const timestamp = Date.parse(order.timestamp)
  const start = timestamp - (timestamp % FIVE_MINUTES)
  let window = windows.get(start)
  if (window === undefined) windows.set(start, (window = { count: 0, revenue: 0 }))
  window.count++
  window.revenue += amount
  appender.appendVarchar(order.order_id)
  appender.appendVarchar(order.customer_id)
  appender.appendDouble(amount)
  if (order.status === undefined) appender.appendNull()
  else appender.appendVarchar(order.status)
  if (order.country === undefined) appender.appendNull()
  else appender.appendVarchar(order.country)
  appender.appendTimestamp(micros(timestamp))
  appender.appendTimestamp(micros(Date.now()))
  appender.endRow()
}
appender.closeSync()
const metrics = await connection.createAppender('hourly_metrics', 'ecommerce_orders')
for (const [start, { count, revenue }] of [...windows].sort(([a], [b]) => a - b)) {
  metrics.appendTimestamp(micros(start))
  metrics.appendTimestamp(micros(start + FIVE_MINUTES))
  metrics.appendBigInt(BigInt(count))
  metrics.appendDouble(revenue)
  metrics.appendDouble(revenue / count)
  metrics.appendTimestamp(micros(Date.now()))
  metrics.endRow()
}
metrics.closeSync()
connection.closeSync()
instance.closeSync()
console.log(JSON.stringify({ orders: seen.size, windows: windows.size, invalid }))
