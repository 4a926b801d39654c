/** Figures as rows of Markdown, so that a run's output can stand in the documentation as it is. */
import type { Figures, Stretch } from './throughput.ts'

export type Cell = string | number

/** @param head the columns' names; all but the first are numbers */
export function markdown(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|---|${'--:|'.repeat(head.length - 1)}`, ...rows.map(line)].join('\n')
}

export function rounded(value: number | null, digits: number): string {
  return value === null || !Number.isFinite(value) ? '' : value.toFixed(digits)
}

/** Of client and Redis, or of one of the three, seconds. */
export function cpuPerMillion(stretch: Stretch | null, of?: keyof Stretch['cpu']): number | null {
  if (stretch === null || stretch.events === 0) return null
  const { client, redis } = stretch.cpu
  return ((of === undefined ? client + redis : stretch.cpu[of]) * 1e6) / stretch.events
}

export function eventsPerSecond(stretch: Stretch | null): number | null {
  return stretch === null ? null : stretch.events / stretch.seconds
}

const HEAD = [
  '',
  'events/s',
  'steady',
  'CPU-s/M: client',
  'Redis',
  'broker',
  'steady: client',
  'Redis',
  'broker',
  'of Streams’',
  'peak MiB',
  'B/event to Kafka',
  'GC: share',
  'p99 ms',
  'longest ms',
]

/** Of all systems over one topic at one interval; ratios are of client and Redis, steady, to Kafka Streams'. */
export function throughputTable(all: readonly Figures[]): string {
  const peer = cpuPerMillion(all.find(({ system }) => system === 'streams')?.steady ?? null)
  return markdown(
    HEAD,
    all.map(({ system, whole, steady, peakMiB, writtenBytes, gc }) => {
      const own = cpuPerMillion(steady)
      return [
        system,
        rounded(eventsPerSecond(whole), 0),
        rounded(eventsPerSecond(steady), 0),
        ...(['client', 'redis', 'broker'] as const).map((of) => rounded(cpuPerMillion(whole, of), 2)),
        ...(['client', 'redis', 'broker'] as const).map((of) => rounded(cpuPerMillion(steady, of), 2)),
        own === null || peer === null ? '' : rounded(own / peer, 2),
        rounded(peakMiB, 0),
        writtenBytes === null ? '' : rounded(writtenBytes / whole.events, 0),
        gc === null ? '' : `${rounded(gc.totalMs / whole.seconds / 10, 1)}%`,
        rounded(gc?.p99Ms ?? null, 1),
        rounded(gc?.longestMs ?? null, 1),
      ]
    }),
  )
}
