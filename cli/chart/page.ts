/** A result as one page that needs nothing but itself: no network, no other file. */
import { readFileSync } from 'node:fs'
import { CliError } from '../errors.ts'
import type { Cell, TableColumn } from '../output/table.ts'
import { chartOf, type Chart } from './choose.ts'
import type { QueryResult } from '../wire/tables.ts'

export interface PageOptions {
  readonly title: string
  /** Below the title. */
  readonly sql: string
  readonly result: QueryResult
  /** As the table shows them. */
  readonly columns: readonly TableColumn[]
  readonly rows: readonly (readonly Cell[])[]
  /** Epoch ms. */
  readonly madeMs: number
}

/** More would make the page slow; the CSV has all of them. */
const MOST_ROWS = 5_000

export function page({ title, sql, result, columns, rows, madeMs }: PageOptions): string {
  const shown = rows.slice(0, MOST_ROWS)
  const made = new Date(madeMs).toISOString().replace(/\.\d+Z$/, 'Z')
  const more = rows.length > shown.length ? `, of which the first ${shown.length} stand here` : ''
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escaped(title)}</title>
<style>
${library(import.meta.resolve('uplot/dist/uPlot.min.css'))}
${STYLE}
</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="note">${rows.length} rows${more}; asked at ${made}. Times are UTC.</p>
<details><summary>SQL</summary><pre>${escaped(sql)}</pre></details>
${chartPart(result)}
<table id="rows">
<thead><tr>${columns.map(({ name }) => `<th>${escaped(name)}</th>`).join('')}</tr></thead>
<tbody>
${shown.map((row) => `<tr>${row.map((cell, i) => cellPart(cell, columns[i]!)).join('')}</tr>`).join('\n')}
</tbody>
</table>
</body>
</html>
`
}

function chartPart(result: QueryResult): string {
  let chart: Chart
  try {
    chart = chartOf(result)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    return `<p class="note">No chart: ${escaped(error.message)}</p>`
  }
  // Within a script only "</script" and "<!--" end the data early.
  const data = JSON.stringify(chart).replaceAll('<', '\\u003c')
  return `<div id="charts"></div>
<script type="application/json" id="data">${data}</script>
<script>${library(import.meta.resolve('uplot/dist/uPlot.iife.min.js'))}</script>
<script>${DRAW}</script>`
}

function cellPart(cell: Cell, { numeric }: TableColumn): string {
  const text = cell === null ? '' : typeof cell === 'object' ? JSON.stringify(cell) : String(cell)
  return `<td${numeric ? ' class="number"' : ''}>${escaped(text)}</td>`
}

function library(url: string): string {
  const text = readFileSync(new URL(url), 'utf8')
  if (/<\/(script|style)/i.test(text)) throw new Error(`${url} cannot stand within a page`)
  return text
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"]/g, (sign) => ENTITIES[sign]!)
}

const STYLE = `body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1000px; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.4rem; margin-bottom: 0 } .note { color: #5b6b7b; margin-top: .2rem }
h2 { font-size: 1rem; margin: 1.2rem 0 .2rem } pre { overflow-x: auto; background: #f4f6f8; padding: .6rem }
#rows { border-collapse: collapse; margin-top: 1.5rem; font-size: 14px }
#rows th, #rows td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e3e8ed }
#rows .number { text-align: right; font-variant-numeric: tabular-nums }`

/** Runs in the browser. uPlot counts in seconds; `tzDate` keeps its axis in UTC. */
const DRAW = String.raw`'use strict';
const chart = JSON.parse(document.getElementById('data').textContent);
const place = document.getElementById('charts');
const line = '#1769aa', fill = 'rgba(23, 105, 170, .12)';
const shared = { width: place.clientWidth, legend: { live: true }, cursor: { sync: { key: 'time' } } };
for (const panel of chart.panels) {
  const title = document.createElement('h2');
  title.textContent = panel.title + ' by ' + chart.by;
  place.append(title);
  const box = document.createElement('div');
  place.append(box);
  if (chart.kind === 'series') {
    new uPlot({ ...shared, height: 260, tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), 'Etc/UTC'),
      series: [{ label: chart.by }, { label: panel.title, stroke: line, fill, width: 1.5, points: { show: panel.points.length < 200 } }],
      axes: [{}, { size: 80 }],
    }, [panel.points.map(([ms]) => ms / 1e3), panel.points.map(([, value]) => value)], box);
  } else {
    const labels = panel.bars.map((bar) => bar.label);
    const at = (i) => Number.isInteger(i) && labels[i] !== undefined ? labels[i] : '';
    new uPlot({ ...shared, cursor: {}, height: 340,
      scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: (u, min, max) => [Math.min(0, min), Math.max(0, max) * 1.05 || 1] } },
      series: [{ label: chart.by, value: (u, i) => i === null ? '--' : at(i) }, { label: panel.title, stroke: line, fill: line, paths: uPlot.paths.bars({ size: [0.7, 60] }), points: { show: false } }],
      axes: [{ splits: () => labels.map((_, i) => i), values: (u, all) => all.map(at), rotate: labels.length > 8 ? -60 : 0, size: labels.length > 8 ? 120 : 50, grid: { show: false } }, { size: 80 }],
    }, [labels.map((_, i) => i), panel.bars.map((bar) => bar.value)], box);
  }
}
document.body.dataset.drawn = String(chart.panels.length);`
