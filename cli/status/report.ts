import { formatBytes, formatCount } from '../output/format.ts'
import { formatTable, type TableColumn } from '../output/table.ts'
import type { NotifierStatus } from './notifiers.ts'
import type { Status, TaskStateStatus } from './status.ts'

/** For people. */
export function statusReport(status: Status): string {
  const { application, log, topology, holder, members, tasks, sinks, notifiers, notes } = status
  const running = holder === null ? '' : `, in use by process ${holder.pid}`
  const parts = [`${application} in ${log}${running}; topology ${topology}`]
  if (members.length > 0) {
    parts.push(
      formatTable(
        columns('role', 'client', 'host', 'has'),
        members.map(({ role, client, host, has, waitsFor }) => [
          role,
          client,
          host,
          waitsFor === null ? shortened(has) : `nothing: waits for ${waitsFor}`,
        ]),
      ),
    )
  } else if (holder === null) parts.push('No process is running.')
  parts.push(
    formatTable(
      columns('task', 'input', '#committed', '#end', '#waiting', 'watermark', '#entries', '#state'),
      tasks.map(({ task, topic, partition, committed, end, lag, watermark, state }) => [
        task,
        `${topic}-${partition}`,
        committed === null ? '-' : formatCount(committed),
        formatCount(end),
        formatCount(lag),
        watermark?.slice(0, 19).replace('T', ' ') ?? '-',
        ...stateCells(state),
      ]),
    ),
    formatTable(
      columns('table', '#waiting', '#rows'),
      sinks.map(({ table, lag, rows }) => [table, formatCount(lag), rows === null ? '-' : formatCount(rows)]),
    ),
    ...(notifiers.length === 0 ? [] : [notifierTable(notifiers)]),
    ...notes.map((note) => `! ${note}`),
  )
  return `${parts.join('\n\n')}\n`
}

function notifierTable(notifiers: readonly NotifierStatus[]): string {
  return formatTable(
    columns('notifier', '#dealt with', '#end', '#waiting', '#open runs'),
    notifiers.map(({ notifier, recorded, end, lag, openRuns }) => [
      notifier,
      recorded === null ? '-' : formatCount(recorded),
      formatCount(end),
      formatCount(lag),
      openRuns === null ? '-' : formatCount(openRuns),
    ]),
  )
}

/** Embedded it is not counted. */
function stateCells(state: TaskStateStatus | null): [string, string] {
  if (state === null) return ['-', 'none']
  const { size } = state
  return size === null ? ['-', 'there'] : [formatCount(size.entries), formatBytes(size.bytes)]
}

/** A name that begins with # is a number's. */
function columns(...names: readonly string[]): TableColumn[] {
  return names.map((name) => ({ name: name.replace('#', ''), numeric: name.startsWith('#') }))
}

function shortened(names: readonly string[]): string {
  const text = names.join(' ')
  return text.length <= 56 ? text : `${names.length}: ${text.slice(0, 48)}…`
}
