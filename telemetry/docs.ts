import { FAMILIES, type Family } from './families.ts'

/** docs/metrics.md, whole. */
export function renderMetricsPage(families: readonly Family[] = Object.values(FAMILIES)): string {
  const rows = families.map(({ name, type, labels, help }) => [
    `\`${name}\``,
    type,
    labels.map((label) => `\`${label}\``).join(', '),
    help.replaceAll('|', '\\|'),
  ])
  const table = [['name', 'type', 'labels', 'what it tells'], ['---', '---', '---', '---'], ...rows]
  return `${HEAD}\n${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n\n${FOOT}`
}

const HEAD = `# Metrics and health

<!-- Made by \`npm run metrics\` from telemetry/families.ts: change it there. -->

With \`--metrics-port\` (or \`METRICS_PORT\`; 0 takes any free port and says which) a process serves, on \`--metrics-host\` (default 127.0.0.1; in a container 0.0.0.0):

- \`/metrics\`: the families below, and those of the process itself (\`process_…\`, \`nodejs_…\`: CPU, memory, garbage collection, event loop), in Prometheus' text format.
- \`/healthz\`: 200 while the process is alive. 503 when one of its loops has not turned for two minutes: kill it; nothing is lost.
- \`/readyz\`: 200 while it works: tasks open, log and state answering. 503 with the reasons, as JSON: \`{"status": "unavailable", "reasons": [{"name": "state", "reason": "…"}]}\`. Not a reason to kill it.

Counters of a task's whole life stand in its task record: they are exact over crashes, go on where they stood when a task moves to another process, and their sum over all processes is the application's. Gauges and totals are read when Prometheus asks; what the log does not give in time is left out, and \`millrace_family_unavailable\` says so.
`

const FOOT = `Some questions and their answers:

- How far behind is the processing? \`sum(millrace_task_lag_records)\`, or in time \`time() - min(millrace_task_watermark_seconds)\`.
- How long does a record take? \`histogram_quantile(0.99, sum by (le) (rate(millrace_end_to_end_latency_seconds_bucket[5m])))\`.
- The cache's hit rate: \`rate(millrace_cache_hits_total[5m]) / (rate(millrace_cache_hits_total[5m]) + rate(millrace_cache_misses_total[5m]))\`.
- Is somebody fighting over tasks? \`sum by (code) (increase(millrace_reopens_total[15m]))\`.
`
