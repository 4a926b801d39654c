import type { DedupeStore } from '../../state/dedupe-store.ts'
import type { DedupeNode } from '../../topology/graph.ts'
import type { Counters } from '../counters.ts'
import type { Operator } from './operator.ts'

export function dedupeOperator(
  node: DedupeNode,
  store: DedupeStore,
  counters: Counters,
  next: Operator,
): Operator {
  const counter = `${node.name}.duplicates`
  return {
    process(value, context) {
      if (store.admit(node.id(value), context.ingestionMs)) next.process(value, context)
      else counters.add(counter, 1)
    },
    want(value, context) {
      store.want(node.id(value), context.ingestionMs)
      next.want?.(value, context)
    },
  }
}
