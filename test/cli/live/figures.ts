import type { RunFigures } from '../../../cli/live/figures.ts'

/** A run in the middle of its input. */
export function figures(changes: Partial<RunFigures> = {}): RunFigures {
  return {
    read: 52_340,
    invalid: 512,
    behindWatermark: 0,
    lag: 1_204,
    sources: [
      {
        name: 'orders',
        read: 52_340,
        invalid: 512,
        watermarkMs: Date.parse('2026-11-21T14:06:07Z'),
        lag: 1_204,
        input: { done: 2 ** 30, total: 2 ** 31, unit: 'bytes' },
      },
    ],
    tables: [
      { name: 'ecommerce_orders.orders', written: 51_000, lag: 123 },
      { name: 'dead_letters', written: 512, lag: 0 },
    ],
    tasks: {
      open: 5,
      restoring: 0,
      processed: 51_136,
      closed: 51,
      late: 3,
      duplicates: 118,
      refused: 0,
    },
    totals: new Map(),
    ...changes,
  }
}
