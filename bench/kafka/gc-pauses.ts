/**
 * Preloaded (`node --import`) into a process that is measured: when it ends, how long its garbage collection stopped
 * it goes to the file named by GC_FILE.
 */
import { writeFileSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'

export interface GcPauses {
  readonly count: number
  readonly totalMs: number
  readonly p99Ms: number
  readonly longestMs: number
}

export function summarise(pausesMs: readonly number[]): GcPauses {
  const sorted = [...pausesMs].sort((a, b) => a - b)
  return {
    count: sorted.length,
    totalMs: sorted.reduce((sum, pause) => sum + pause, 0),
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    longestMs: sorted.at(-1) ?? 0,
  }
}

const file = process.env['GC_FILE']
if (file !== undefined) {
  const pausesMs: number[] = []
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) pausesMs.push(duration)
  })
  observer.observe({ entryTypes: ['gc'] })
  process.on('exit', () => writeFileSync(file, JSON.stringify(summarise(pausesMs))))
}
