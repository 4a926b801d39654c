/** Compares what stands in the topics with what must stand there, row by row. */
import { Decoder, dump, type Dumped, type DumpedRecord } from './dump.ts'
import { textOf, TOPICS, type Row, type Rows } from './expected.ts'

export interface TopicResult {
  readonly topic: string
  /** That must be there. */
  readonly expected: number
  readonly found: number
  /** Expected rows that are not there, or not as often as they should be. */
  readonly lost: number
  /** Expected rows that are there too often. */
  readonly doubled: number
  /** Rows that nobody expects. */
  readonly foreign: number
  /** Some of them, for people. */
  readonly examples: readonly string[]
}

export interface Verdict {
  readonly topics: readonly TopicResult[]
  /** Partitions whose readers wait for a transaction that nobody ends. */
  readonly open: readonly string[]
}

const EXAMPLES = 3
/** The alerts that the wall clock makes, apart from those that the input does. */
export const STALLS = `${TOPICS.alerts}, STALLED`

/** Columns that the wall clock gives. */
const CLOCK_COLUMNS = new Set(['processed_at', 'calculated_at'])
/** Columns in microseconds. */
const TIME_COLUMNS = new Set([
  'timestamp',
  'window_start',
  'window_end',
  'watermark',
  '_event_time',
  '_watermark',
])

/** @param application begins the names of the topics */
export async function verify(
  brokers: readonly string[],
  application: string,
  expected: Rows,
): Promise<Verdict> {
  const names = Object.values(TOPICS)
  const dumped = await dump(
    brokers,
    names.map((name) => `${application}.${name}`),
  )
  const decoder = await Decoder.open(brokers)
  return compare(dumped, decoder, application, expected)
}

export function compare(
  { records, open }: Dumped,
  decoder: Decoder,
  application: string,
  expected: Rows,
): Verdict {
  const found = new Map<string, Row[]>()
  for (const record of records) {
    if (record.mark) continue
    const topic = record.topic.slice(application.length + 1)
    const row = rowOf(topic, record, decoder)
    const name = topic === TOPICS.alerts && isStall(row) ? STALLS : topic
    const rows = found.get(name) ?? []
    found.set(name, rows)
    rows.push(row)
  }
  const topics = [...expected].map(([topic, rows]) => resultOf(topic, rows, found.get(topic) ?? []))
  return { topics: [...topics, resultOfStalls(found.get(STALLS) ?? [])], open }
}

export function isWrong({ topics, open }: Verdict): boolean {
  return open.length > 0 || topics.some(({ lost, doubled, foreign }) => lost + doubled + foreign > 0)
}

function rowOf(name: string, record: DumpedRecord, decoder: Decoder): Row {
  let values: Record<string, unknown>
  try {
    values = decoder.decode(record)
  } catch (error) {
    // Shows as a foreign row.
    return (error as Error).message
  }
  if (name === TOPICS.deadLetters) {
    const { position, payload } = values
    return textOf({ position, payload: (payload as Buffer).toString() })
  }
  const columns = Object.entries(values)
    .filter(([column]) => !CLOCK_COLUMNS.has(column))
    .map(([column, value]) => [
      column,
      TIME_COLUMNS.has(column) && value !== null ? (value as number) / 1_000 : value,
    ])
  return textOf(Object.fromEntries(columns) as object)
}

function resultOf(topic: string, expected: readonly Row[], found: readonly Row[]): TopicResult {
  const due = countsOf(expected)
  const there = countsOf(found)
  let [lost, doubled, foreign] = [0, 0, 0]
  const examples: string[] = []
  const say = (what: string, row: Row): void => {
    if (examples.length < EXAMPLES) examples.push(`${what}: ${row}`)
  }
  for (const [row, count] of due) {
    const surplus = (there.get(row) ?? 0) - count
    if (surplus < 0) {
      lost -= surplus
      say('lost', row)
    } else if (surplus > 0) {
      doubled += surplus
      say('doubled', row)
    }
  }
  for (const [row, count] of there) {
    if (due.has(row)) continue
    foreign += count
    say('foreign', row)
  }
  return { topic, expected: expected.length, found: found.length, lost, doubled, foreign, examples }
}

/** Which there are the clock decides; two of one silence there must not be. */
function resultOfStalls(rows: readonly Row[]): TopicResult {
  const silences = rows.map((row) => String((JSON.parse(row) as { window_start: number }).window_start))
  return resultOf(STALLS, [...new Set(silences)], silences)
}

function isStall(row: Row): boolean {
  return row.includes('"alert_type":"STALLED"')
}

function countsOf(rows: readonly Row[]): Map<Row, number> {
  const counts = new Map<Row, number>()
  for (const row of rows) counts.set(row, (counts.get(row) ?? 0) + 1)
  return counts
}
