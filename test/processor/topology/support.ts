import { contract } from '../../../schemas/contract.ts'
import { double, optional, string, timestamp } from '../../../schemas/schema.ts'
import { definePipeline, source } from '../../../processor/topology/pipeline.ts'
import type { Stream } from '../../../processor/topology/stream.ts'

export const sale = contract(
  'Sale',
  { sale_id: string(), shop: string(), amount: double(), note: optional(string()), at_time: timestamp() },
  { id: ['sale_id'], key: 'sale_id', eventTime: 'at_time', disorder: '1m' },
)
export type Sale = { sale_id: string; shop: string; amount: number; note: string | null; at_time: number }

export function pipelineOf(build: (sales: Stream<Sale>) => void): ReturnType<typeof definePipeline> {
  return definePipeline({
    name: 'shop',
    sources: { sales: source('sale-events', sale) },
    build: ({ sales }) => build(sales),
  })
}
