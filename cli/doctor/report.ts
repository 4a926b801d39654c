import type { Finding, Status } from './findings.ts'

const SIGNS: Readonly<Record<Status, string>> = { ok: '✓', warning: '!', error: '✗', skipped: '-' }

/** For people: a line a finding, and below each that is not well what to do. */
export function textReport(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, status, message, mend }) => [
    `${SIGNS[status]} ${check.padEnd(width)}  ${message}`,
    ...(mend === null ? [] : [`  ${' '.repeat(width)}  → ${mend}`]),
  ])
  return `${lines.join('\n')}\n\n${summaryOf(findings)}\n`
}

/** For programs: one JSON object. */
export function jsonReport(findings: readonly Finding[]): string {
  return `${JSON.stringify({ status: worstOf(findings), findings }, null, 2)}\n`
}

export function worstOf(findings: readonly Finding[]): 'ok' | 'warning' | 'error' {
  if (findings.some(({ status }) => status === 'error')) return 'error'
  return findings.some(({ status }) => status === 'warning') ? 'warning' : 'ok'
}

function summaryOf(findings: readonly Finding[]): string {
  const count = (status: Status): number => findings.filter((finding) => finding.status === status).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (errors + warnings === 0) return 'All is well.'
  return `${counted(errors, 'error')}, ${counted(warnings, 'warning')}.${errors === 0 ? ' It will run.' : ''}`
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
