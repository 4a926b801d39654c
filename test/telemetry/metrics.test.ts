import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderMetricsPage } from '../../telemetry/docs.ts'
import { FAMILIES } from '../../telemetry/families.ts'
import type { Figures } from '../../telemetry/figures.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { familiesOf, valueOf } from './exposition.ts'

describe('metrics', () => {
  const metricsWith = (figures: Figures = {}, figuresTimeoutMs = 1_000): Metrics => {
    const metrics = new Metrics({
      application: 'orders',
      role: 'process',
      version: '1.2.3',
      defaults: false,
      figuresTimeoutMs,
    })
    metrics.pullFrom(figures)
    return metrics
  }
  const TASK = {
    task: 'orders_1',
    topic: 'orders.order-events',
    partition: 1,
    position: 42,
    watermarkMs: 1_500,
    counters: { 'orders.records': 40, 'orders-dedupe.duplicates': 3, 'metrics.late': 2, 'metrics.closed': 7 },
  }

  it('names its families by the conventions, and explains each', () => {
    for (const { name, type, help, labels } of Object.values(FAMILIES)) {
      assert.match(name, /^millrace_[a-z][a-z_]*[a-z]$/)
      assert.equal(name.endsWith('_total'), type === 'counter', name)
      if (type === 'histogram') assert.match(name, /_seconds$/)
      assert.ok(help.length > 15 && help.endsWith('.'), name)
      for (const label of labels) assert.match(label, /^[a-z]+$/)
    }
    const names = Object.values(FAMILIES).map(({ name }) => name)
    assert.equal(new Set(names).size, names.length)
  })

  it('are in docs/metrics.md as they are in the code', () => {
    const page = join(import.meta.dirname, '..', '..', 'docs', 'metrics.md')
    assert.equal(readFileSync(page, 'utf8'), renderMetricsPage(), "run 'npm run metrics'")
  })

  it('tell of each task where it stands, and its counters by node', async () => {
    const text = await metricsWith({ tasks: () => [TASK] }).scrape()
    assert.equal(
      valueOf(text, 'millrace_task_position', {
        task: 'orders_1',
        topic: 'orders.order-events',
        partition: '1',
      }),
      42,
    )
    assert.equal(valueOf(text, 'millrace_task_watermark_seconds', { task: 'orders_1' }), 1.5)
    assert.equal(valueOf(text, 'millrace_processed_records_total', { task: 'orders_1' }), 40)
    const node = (name: string): { task: string; node: string } => ({ task: 'orders_1', node: name })
    assert.equal(valueOf(text, 'millrace_duplicate_records_total', node('orders-dedupe')), 3)
    assert.equal(valueOf(text, 'millrace_late_records_total', node('metrics')), 2)
    assert.equal(valueOf(text, 'millrace_closed_windows_total', node('metrics')), 7)
    assert.equal(valueOf(text, 'millrace_tasks', {}), 1)
  })

  it('say nothing of a task that has gone, or of a watermark that nobody knows', async () => {
    let tasks = [TASK, { ...TASK, task: 'orders_2', partition: 2 }]
    const metrics = metricsWith({ tasks: () => tasks })
    await metrics.scrape()
    tasks = [{ ...TASK, watermarkMs: null as unknown as number }]
    const text = await metrics.scrape()
    assert.ok(!text.includes('orders_2'))
    assert.equal(valueOf(text, 'millrace_task_watermark_seconds', { task: 'orders_1' }), null)
    assert.equal(valueOf(text, 'millrace_processed_records_total', { task: 'orders_1' }), 40)
  })

  it('count what happens, and totals as their owners have them', async () => {
    let hits = 10
    const metrics = metricsWith({
      cache: () => ({ bytes: 1000, maxBytes: 2000, hits, misses: 5 }),
      restoring: () => 2,
      sources: () => [
        { source: 'orders', valid: 8, invalid: 2, behindWatermark: 1, bytes: 512, promiseMs: 60_000 },
      ],
    })
    metrics.committed({ durationMs: 12, records: 100, latencyMs: 250 })
    metrics.committed({ durationMs: 3, records: 50, latencyMs: -5 })
    metrics.committed({ durationMs: 0, records: 0, latencyMs: null })
    metrics.reopened('FENCED')
    metrics.restored({ records: 1_000, durationMs: 700 })
    metrics.stateRead({ keys: 30, durationMs: 1 })
    metrics.stateWritten({ records: 20, durationMs: 2 })
    metrics.stateFailed('STATE_LOST')
    await metrics.scrape()
    hits = 25
    const text = await metrics.scrape()
    const value = (name: string, labels: Record<string, string> = {}): number | null =>
      valueOf(text, name, labels)
    assert.equal(value('millrace_commits_total'), 3)
    assert.equal(value('millrace_committed_records_total'), 150)
    assert.equal(value('millrace_commit_duration_seconds_sum'), 0.015)
    assert.equal(value('millrace_end_to_end_latency_seconds_count'), 2)
    assert.equal(value('millrace_end_to_end_latency_seconds_bucket', { le: '0.05' }), 1)
    assert.equal(value('millrace_end_to_end_latency_seconds_bucket', { le: '0.25' }), 2)
    assert.equal(value('millrace_reopens_total', { code: 'FENCED' }), 1)
    assert.equal(value('millrace_restored_records_total'), 1000)
    assert.equal(value('millrace_restore_duration_seconds_count'), 1)
    assert.equal(value('millrace_restoring_tasks'), 2)
    assert.equal(value('millrace_cache_bytes'), 1000)
    assert.equal(value('millrace_cache_max_bytes'), 2000)
    assert.equal(value('millrace_cache_hits_total'), 25)
    assert.equal(value('millrace_cache_misses_total'), 5)
    assert.equal(value('millrace_state_read_keys_total'), 30)
    assert.equal(value('millrace_state_read_duration_seconds_count'), 1)
    assert.equal(value('millrace_state_written_records_total'), 20)
    assert.equal(value('millrace_state_errors_total', { code: 'STATE_LOST' }), 1)
    assert.equal(value('millrace_source_records_total', { source: 'orders' }), 8)
    assert.equal(value('millrace_source_invalid_records_total', { source: 'orders' }), 2)
    assert.equal(value('millrace_source_watermark_seconds', { source: 'orders' }), 60)
  })

  it('come in time without what the log does not give, and say what is missing', async () => {
    let away = false
    const labels = { task: 'orders_0', topic: 'orders.order-events', partition: '0' }
    const metrics = metricsWith(
      {
        lag: () =>
          away ? new Promise(() => undefined) : Promise.resolve([{ ...labels, partition: 0, records: 9 }]),
        sinks: () => [{ destination: 'table', rows: 7, refused: 1, heldBytes: 0 }],
        sinkLag: () => (away ? Promise.reject(new Error('no')) : Promise.resolve([])),
      },
      20,
    )
    const unavailable = (text: string, family: string): number | null =>
      valueOf(text, 'millrace_family_unavailable', { family })
    const text = await metrics.scrape()
    assert.equal(unavailable(text, 'millrace_task_lag_records'), 0)
    assert.equal(valueOf(text, 'millrace_task_lag_records', labels), 9)
    away = true
    const missing = await metrics.scrape()
    assert.equal(unavailable(missing, 'millrace_task_lag_records'), 1)
    assert.equal(unavailable(missing, 'millrace_sink_lag_records'), 1)
    // An old one would look like a new one.
    assert.equal(valueOf(missing, 'millrace_task_lag_records', labels), null)
    assert.equal(valueOf(missing, 'millrace_sink_rows_total', { destination: 'table' }), 7)
  })

  it('look once for scrapes that come together', async () => {
    let asked = 0
    const metrics = metricsWith({
      tasks: () => {
        asked++
        return []
      },
    })
    const [one, other] = await Promise.all([metrics.scrape(), metrics.scrape()])
    assert.equal(asked, 1)
    assert.equal(one, other)
  })

  it('bring those of the process itself, garbage collection and event loop among them', async () => {
    const metrics = new Metrics({ application: 'orders', role: 'run', version: '1' })
    const families = familiesOf(await metrics.scrape())
    for (const name of [
      'process_cpu_seconds_total',
      'nodejs_gc_duration_seconds',
      'nodejs_eventloop_lag_p99_seconds',
      'nodejs_heap_size_used_bytes',
    ]) {
      assert.ok(families.has(name), name)
    }
  })
})
