import type { Notify } from '../../schemas/destinations.ts'
import type { OrderAlert } from './contract.ts'

/**
 * What people are told of `order-alerts`: the first and the last of windows in a row with the same alert, and that
 * nothing comes any more.
 */
export const processOrderAlerts: Notify<OrderAlert> = {
  text: ({ alert_type, order_count }) =>
    alert_type === 'STALLED'
      ? 'STALLED: nothing comes from the source of the orders, not even a heartbeat'
      : `${alert_type}: ${order_count} orders in five minutes`,
  severity: ({ alert_type }) => (alert_type === 'DROP' ? 'warn' : 'error'),
  runsOf: ['alert_type'],
}
