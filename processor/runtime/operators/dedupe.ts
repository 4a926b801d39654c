import type { DedupeStore } from '../../state/dedupe-store.ts'
import type { DedupeNode } from '../../topology/graph.ts'
import type { Counters } from '../counters.ts'
import type { KeyBytes } from './key-bytes.ts'
import type { Operator } from './operator.ts'

export function dedupeOperator(
  node: DedupeNode,
  id: KeyBytes,
  store: DedupeStore,
  counters: Counters,
  next: Operator,
): Operator {
  const counter = `${node.name}.duplicates`
  return {
    process(value, context) {
      id.read(value)
      if (store.admit(id.buffer, id.start, id.end, context.ingestionMs)) next.process(value, context)
      else counters.add(counter, 1)
    },
    want(value, context) {
      id.read(value)
      store.want(id.buffer, id.start, id.end, context.ingestionMs)
      next.want?.(value, context)
    },
  }
}
