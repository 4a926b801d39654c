/** The status as a view that fits a terminal, and as one line. */
import { counted, formatBytes, formatCount } from '../output/format.ts'
import type { Colours } from '../live/colours.ts'
import { timeOf } from '../live/words.ts'
import { cut, spread, tableOf, widthOf, type Column } from '../live/frame.ts'
import type { MemberStatus, Status, TaskStatus } from './status.ts'

export interface StatusFrameOptions {
  /** When it was so. */
  readonly time: string
  /** Why this is not how it is now; null: it is. */
  readonly problem: string | null
  readonly columns: number
  /** Of the terminal; one of them is the cursor's. */
  readonly rows: number
  readonly colours: Colours
}

/** Lines none wider than the terminal, fewer than it has rows: the longest parts are shortened first. */
export function statusFrame(status: Status, options: StatusFrameOptions): string[] {
  const { time, problem, columns, rows, colours } = options
  const { application, log, holder, members, notes } = status
  const width = widthOf(columns)
  const nobody = members.length > 0 ? '' : 'no process is running · '
  const running = holder === null ? nobody : `process ${holder.pid} · `
  const top = [
    colours.bold(spread(cut(`${application} · ${running}${log}`, width - time.length - 2), time, width)),
    ...(problem === null ? [] : [colours.alarm(cut(`! ${problem}`, width))]),
    ...notes.map((note) => colours.alarm(cut(`! ${note}`, width))),
  ]
  const parts = partsOf(status).map(({ first, columns: of, lags }) => ({
    lines: tableOf(first, of, width, colours),
    lags,
  }))
  const room = Math.max(1, rows - 1)
  const lengths = shortened(
    parts.map(({ lines }) => lines.length),
    room - top.length,
  )
  const lines = parts.flatMap((part, i) => {
    const length = lengths[i]!
    if (length === part.lines.length) return part.lines
    // Of the lines one is the heading, and the last says what is left out.
    const left = part.lags.slice(length - 2)
    const waiting = formatCount(left.reduce((sum, lag) => sum + lag, 0))
    return [
      ...part.lines.slice(0, length - 1),
      colours.dim(cut(`  … ${left.length} more, ${waiting} waiting`, width)),
    ]
  })
  return [...top, ...lines].slice(0, room)
}

/** Of a part: its heading, a line, and what says how much is left out. */
const LEAST_LINES = 3

/** The longest gives a line until all have room, or none can give more. */
function shortened(lengths: readonly number[], room: number): number[] {
  const left = [...lengths]
  while (left.reduce((sum, length) => sum + length, 0) > room) {
    const longest = left.indexOf(Math.max(...left))
    if (left[longest]! <= LEAST_LINES) break
    left[longest]!--
  }
  return left
}

interface Part {
  readonly first: Omit<Column, 'from'>
  readonly columns: readonly Column[]
  /** By row, for what is said of those that are left out. */
  readonly lags: readonly number[]
}

function partsOf({ members, tasks, sinks, notifiers }: Status): Part[] {
  const count = (value: number | null): string => (value === null ? '-' : formatCount(value))
  const processes = processesOf(members)
  const parts: Part[] = [
    {
      first: { name: 'process', cells: processes.map(({ client }) => client) },
      columns: [
        { name: 'host', cells: processes.map(({ host }) => host), from: 70 },
        { name: 'role', cells: processes.map(({ roles }) => roles), from: 0 },
        { name: 'partitions', cells: processes.map(({ partitions }) => partitions), from: 0 },
      ],
      lags: processes.map(() => 0),
    },
    {
      first: { name: 'task', cells: tasks.map(({ task }) => task) },
      columns: [
        { name: 'committed', cells: tasks.map(({ committed }) => count(committed)), from: 100 },
        { name: 'end', cells: tasks.map(({ end }) => count(end)), from: 60 },
        { name: 'waiting', cells: tasks.map(({ lag }) => count(lag)), from: 0 },
        { name: 'watermark', cells: tasks.map(({ watermark }) => timeText(watermark)), from: 60 },
        { name: 'state', cells: tasks.map(stateText), from: 100 },
      ],
      lags: tasks.map(({ lag }) => lag),
    },
    {
      first: { name: 'table', cells: sinks.map(({ table }) => table) },
      columns: [
        { name: 'waiting', cells: sinks.map(({ lag }) => count(lag)), from: 0 },
        { name: 'rows', cells: sinks.map(({ rows }) => count(rows)), from: 0 },
      ],
      lags: sinks.map(({ lag }) => lag),
    },
    {
      first: { name: 'notifier', cells: notifiers.map(({ notifier }) => notifier) },
      columns: [
        { name: 'dealt with', cells: notifiers.map(({ recorded }) => count(recorded)), from: 80 },
        { name: 'end', cells: notifiers.map(({ end }) => count(end)), from: 80 },
        { name: 'waiting', cells: notifiers.map(({ lag }) => count(lag)), from: 0 },
        { name: 'open runs', cells: notifiers.map(({ openRuns }) => count(openRuns)), from: 0 },
      ],
      lags: notifiers.map(({ lag }) => lag),
    },
  ]
  return parts.filter(({ first }) => first.cells.length > 0)
}

/** A process is a member of many groups; those of one name and host are shown as one. */
function processesOf(
  members: readonly MemberStatus[],
): { client: string; host: string; roles: string; partitions: string }[] {
  return [...Map.groupBy(members, ({ client, host }) => JSON.stringify([client, host])).values()].map(
    (all) => ({
      client: all[0]!.client,
      host: all[0]!.host,
      roles: [...new Set(all.map(({ role }) => role))].join(' '),
      partitions: all.some(({ waitsFor }) => waitsFor !== null)
        ? 'waits'
        : formatCount(all.reduce((sum, { has }) => sum + has.length, 0)),
    }),
  )
}

function stateText({ state }: TaskStatus): string {
  if (state === null) return 'none'
  return state.size === null ? 'there' : formatBytes(state.size.bytes)
}

function timeText(iso: string | null): string {
  return timeOf(iso === null ? null : Date.parse(iso))
}

/** For a pipe or a file. */
export function statusLine({ holder, members, tasks, sinks, notifiers, notes }: Status): string {
  const sum = (parts: readonly { readonly lag: number }[]): string =>
    formatCount(parts.reduce((total, { lag }) => total + lag, 0))
  const processes = new Set(members.map(({ client, host }) => `${client} ${host}`)).size
  const watermarks = tasks.flatMap(({ watermark }) => watermark ?? []).sort()
  return [
    holder === null ? counted(processes, 'process', 'processes') : `process ${holder.pid}`,
    `${sum(tasks)} waiting for ${counted(tasks.length, 'task')}`,
    `${sum(sinks)} for ${counted(sinks.length, 'table')}`,
    ...(notifiers.length === 0 ? [] : [`${sum(notifiers)} for ${counted(notifiers.length, 'notifier')}`]),
    `watermark ${timeText(watermarks[0] ?? null)}`,
    ...notes.map((note) => `! ${note}`),
  ].join(', ')
}
