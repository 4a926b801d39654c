import { contract } from '../../schemas/contract.ts'
import { double, long, optional, schema, string, timestamp, type RowOf } from '../../schemas/schema.ts'

export const order = contract(
  'Order',
  {
    order_id: string(),
    customer_id: string(),
    amount: double({ cast: 'text' }),
    status: optional(string()),
    country: optional(string()),
    timestamp: optional(timestamp()),
  },
  { id: ['order_id', 'status'], key: 'order_id', eventTime: 'timestamp', disorder: '1h' },
)

export const alert = schema('OrderAlert', {
  alert_type: string(),
  window_start: timestamp(),
  window_end: timestamp(),
  order_count: long(),
})

export type OrderAlert = RowOf<typeof alert>
