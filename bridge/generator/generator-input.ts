import type { Writable } from 'node:stream'
import { once } from 'node:events'
import { brokenJson } from '../adapters/format.ts'
import { SourceError } from '../errors.ts'
import { keys, parseStored, type StoredRecord } from '../positions.ts'
import type {
  Origin,
  ReaderContext,
  ReaderProgress,
  ReadState,
  RecordSink,
  SourceInput,
  SourceReader,
} from '../reader.ts'
import { systemTimer } from '../../config/clock.ts'
import {
  disorderOf,
  GeneratedRecords,
  stepOf,
  timeOf,
  type GeneratorOptions,
  type Schedule,
} from './generated-records.ts'

/** Stored with every transaction: the next record, and the schedule that gives its time. */
interface GeneratorRecord extends Schedule {
  readonly index: number
  readonly seed: number
}

type Settings = Required<GeneratorOptions>

const RECORDS_AT_ONCE = 2_000

/**
 * Made-up records as a source's input: a history as fast as it is taken, then live at the rate in real time.
 * @throws SourceError BAD_SOURCE for options that cannot be
 */
export function generator(options: GeneratorOptions): SourceInput {
  return new GeneratorInput(settingsOf(options))
}

/** Writes `count` made-up records as NDJSON, ending at `nowMs`, no faster than the output takes them. */
export async function writeGenerated(
  output: Writable,
  options: GeneratorOptions & { readonly count: number },
  nowMs: number,
): Promise<void> {
  const settings = settingsOf(options)
  const stepMs = stepOf(settings.ratePerMinute)
  const schedule = { baseIndex: 0, baseMs: nowMs - historyOf(settings, stepMs), stepMs }
  const records = new GeneratedRecords({
    ...settings,
    schedule,
    disorderMs: disorderOf(settings.disorderMs, stepMs),
  })
  let text = ''
  for (let index = 0; index < options.count; index++) {
    text += `${records.textAt(index)}\n`
    if (text.length < TEXT_AT_ONCE && index < options.count - 1) continue
    if (!output.write(text)) await once(output, 'drain')
    text = ''
  }
}

const TEXT_AT_ONCE = 64 << 10

function settingsOf(options: GeneratorOptions): Settings {
  const settings: Settings = {
    seed: 1,
    ratePerMinute: 500,
    count: null,
    badShare: 0.01,
    duplicateShare: 0.002,
    sinceMs: 0,
    disorderMs: 2_000,
    maxRecordsPerSecond: null,
    ...options,
  }
  const { seed, ratePerMinute, badShare, duplicateShare, sinceMs } = settings
  if (!Number.isSafeInteger(seed)) throw bad(`seed ${seed} is not a whole number`)
  if (!(ratePerMinute > 0 && ratePerMinute < Infinity)) throw bad(`rate ${ratePerMinute} is not above 0`)
  if (!(badShare >= 0 && duplicateShare >= 0 && badShare + duplicateShare <= 1)) {
    throw bad(`shares ${badShare} (invalid) and ${duplicateShare} (redelivered) are not within 0 and 1`)
  }
  if (!(sinceMs >= 0 && sinceMs < Infinity)) throw bad(`history of ${sinceMs} ms is not 0 or more`)
  return settings
}

function bad(what: string): SourceError {
  return new SourceError('BAD_SOURCE', `the generator cannot run: ${what}. Change the setting.`)
}

/** A finite generator never waits for the clock: its records lie in the past. */
function historyOf({ sinceMs, count }: Settings, stepMs: number): number {
  return Math.max(sinceMs, (count ?? 0) * stepMs)
}

class GeneratorInput implements SourceInput {
  readonly disorderMs: number
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
    this.disorderMs = disorderOf(settings.disorderMs, stepOf(settings.ratePerMinute))
  }

  get description(): string {
    const { seed, ratePerMinute, count } = this.#settings
    const howMany = count === null ? '' : `, ${count} records`
    return `generator (${ratePerMinute} a minute, seed ${seed}${howMany})`
  }

  async prepare(): Promise<void> {}

  async open(context: ReaderContext): Promise<SourceReader> {
    return new GeneratorReader(this.#settings, this.disorderMs, context)
  }
}

class GeneratorReader implements SourceReader {
  readonly #settings: Settings
  readonly #key: string
  readonly #schedule: Schedule
  readonly #records: GeneratedRecords
  readonly #disorderMs: number
  /** The first index that is not to be made any more. */
  readonly #end: number
  readonly #startedMs: number
  readonly #startedAt: number
  readonly #origin: Origin
  #index: number
  #stored: number
  #nowMs: number

  constructor(settings: Settings, disorderMs: number, { source, stored, finite, nowMs }: ReaderContext) {
    this.#settings = settings
    this.#disorderMs = disorderMs
    this.#key = keys.generator(source)
    const value = stored.get(this.#key)
    const record = value === undefined ? null : parseStored<GeneratorRecord>(this.#key, value)
    this.#schedule = scheduleFrom(record, settings, nowMs)
    this.#records = new GeneratedRecords({ ...settings, schedule: this.#schedule, disorderMs })
    this.#index = this.#stored = this.#startedAt = record?.index ?? 0
    this.#startedMs = this.#nowMs = nowMs
    // A finite run of a generator without end is over when its history has caught up with the clock.
    const { baseIndex, baseMs, stepMs } = this.#schedule
    const caughtUp = baseIndex + Math.floor((nowMs - baseMs) / stepMs) + 1
    this.#end = settings.count ?? (finite ? caughtUp : Infinity)
    this.#origin = {
      source: 'generator',
      position: 0,
      line: null,
      buffer: Buffer.alloc(4096),
      start: 0,
      end: 0,
      byteLength: 0,
      fallbackEventTimeMs: 0,
    }
  }

  async read(sink: RecordSink, nowMs: number): Promise<ReadState> {
    this.#nowMs = nowMs
    if (this.#index >= this.#end) return 'done'
    const upTo = Math.min(this.#end, this.#index + RECORDS_AT_ONCE, this.#allowedUpTo(nowMs))
    const before = this.#index
    while (this.#index < upTo && timeOf(this.#schedule, this.#index) <= nowMs) this.#put(sink, this.#index++)
    return this.#index > before ? 'more' : 'idle'
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    const nextMs = timeOf(this.#schedule, this.#index) - this.#nowMs
    await systemTimer.sleep(Math.min(maxMs, Math.max(1, nextMs)), signal)
  }

  takePositions(): StoredRecord[] {
    if (this.#index === this.#stored) return []
    this.#stored = this.#index
    const record: GeneratorRecord = { index: this.#index, seed: this.#settings.seed, ...this.#schedule }
    return [{ key: this.#key, value: JSON.stringify(record) }]
  }

  /** What comes next has its time on the schedule, less the disorder: known without making it. */
  promiseMs(nowMs: number): number | null {
    if (this.#index === 0) return null
    if (this.#index >= this.#end) return null
    return Math.min(timeOf(this.#schedule, this.#index), nowMs) - this.#disorderMs
  }

  progress(): ReaderProgress {
    const count = this.#end === Infinity ? null : this.#end
    return { files: [], generated: { index: this.#index, count } }
  }

  async close(): Promise<void> {}

  #put(sink: RecordSink, index: number): void {
    const text = this.#records.textAt(index)
    const origin = this.#origin
    if (origin.buffer.length < text.length * 3) origin.buffer = Buffer.alloc(text.length * 3)
    origin.position = index
    origin.end = origin.byteLength = origin.buffer.write(text)
    origin.fallbackEventTimeMs = timeOf(this.#schedule, index)
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (error) {
      sink.reject(brokenJson(error), null, origin)
      return
    }
    sink.value(json, origin)
  }

  #allowedUpTo(nowMs: number): number {
    const { maxRecordsPerSecond } = this.#settings
    if (maxRecordsPerSecond === null) return Infinity
    return this.#startedAt + Math.ceil(((nowMs - this.#startedMs + 1) / 1000) * maxRecordsPerSecond)
  }
}

/** The stored schedule; another rate or seed goes on at the next record, in time where that would have been. */
function scheduleFrom(record: GeneratorRecord | null, settings: Settings, nowMs: number): Schedule {
  const stepMs = stepOf(settings.ratePerMinute)
  if (record === null) return { baseIndex: 0, baseMs: nowMs - historyOf(settings, stepMs), stepMs }
  const { index, seed, baseIndex, baseMs } = record
  if (record.stepMs === stepMs && seed === settings.seed) return { baseIndex, baseMs, stepMs }
  return { baseIndex: index, baseMs: timeOf(record, index), stepMs }
}
