import { formatTable } from '../../cli/output/table.ts'
import type { Verdict } from './verify.ts'

/** A verdict for people: what stands in each topic, and examples of what should not. */
export function verdictReport({ topics, open }: Verdict): string {
  const columns = ['topic', 'rows due', 'rows found', 'lost', 'doubled', 'wrong']
  return [
    formatTable(
      columns.map((name) => ({ name, numeric: name !== 'topic' })),
      topics.map(({ topic, expected, found, lost, doubled, foreign }) => [
        topic,
        expected,
        found,
        lost,
        doubled,
        foreign,
      ]),
    ),
    ...topics.flatMap(({ topic, examples }) => examples.map((example) => `${topic}: ${example}`)),
    ...open.map((partition) => `${partition}: a transaction is still open`),
  ].join('\n')
}
