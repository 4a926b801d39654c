import { Backoff } from '../../config/backoff.ts'
import { systemClock, type Clock } from '../../config/clock.ts'
import type { RefusedRecord } from '../partition-queue.ts'
import { SinkError, type Assignment, type Recovered, type RowBatch, type Sink } from '../port.ts'
import { decodeRows } from '../rows.ts'
import { DeliveryError, notifierName, type Channel } from './channel.ts'
import { ageMsOf, alertOf, type Alert, type AlertReading, type Notice } from './notice.ts'
import { PartitionRecord, type RecordOptions } from './record.ts'
import { close, maxAgeOfLastMs, quietMs, steps, type Run, type Step } from './rule.ts'

export interface NotifierOptions extends Omit<RecordOptions, 'topic' | 'destination'> {
  readonly alerts: AlertReading
  readonly channel: Channel
  /** The compacted topic of what has been told. */
  readonly noticesTopic: string
  /** Older rows are not sent, by the reader's clock. Default an hour. */
  readonly maxAgeMs?: number
  /** Groups of which the run is known; the longest quiet one is closed for a further one. Default 1,000. */
  readonly maxGroups?: number
  /** How often is looked for runs that are over. Default 1,000. */
  readonly lookEveryMs?: number
  /** Told of each thing that happens to a notice. Default: nobody. */
  readonly tell?: (event: NoticeEvent) => void
  readonly clock?: Clock
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number
}

export interface NoticeEvent {
  readonly kind: 'delivered' | 'retried' | 'refused' | 'too-old'
  readonly destination: string
}

const HOUR_MS = 3_600_000
const MAX_BACKOFF_MS = 60_000

/** One partition, as long as it is here. */
interface Owned {
  readonly assignment: Assignment
  record: PartitionRecord
  /** When each group's run was last gone on with, as far as this process knows. */
  readonly heardMs: Map<string, number>
  /** What is being done: one thing at a time. */
  busy: Promise<unknown>
  /** Of runs that are over: when to try again after a failure. */
  readonly backoff: Backoff
  tryAtMs: number
  /** Somebody else has it now. */
  isLost: boolean
}

/**
 * Sends notices of a topic's rows by one channel: at least once, in the order of each partition, each under a key of
 * its own. What has been sent is recorded before the next is sent, so after a death one notice at most is sent
 * again, under the same key. What cannot be delivered is tried again without end, and holds up what follows; what
 * is refused for good becomes a dead letter, and does not. rule.ts says which rows are sent.
 */
export class Notifier implements Sink {
  readonly destination: string
  readonly keepsPositions = true
  readonly maxWritesInFlight = 1
  readonly #options: NotifierOptions
  readonly #record: RecordOptions
  readonly #clock: Clock
  readonly #maxAgeMs: number
  readonly #owned = new Map<number, Owned>()
  /** Offsets of rows that could not be delivered yet: they were young enough when they were first tried. */
  readonly #trying = new Map<number, number>()
  #leaveAloneUntilMs = 0
  #timer: NodeJS.Timeout | null = null

  constructor(options: NotifierOptions) {
    const { alerts, channel, noticesTopic, clock = systemClock, maxAgeMs = HOUR_MS } = options
    this.destination = notifierName(alerts.topic, channel.name)
    this.#options = options
    this.#record = { ...options, topic: noticesTopic, destination: this.destination }
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
  }

  /** The topics are made with the pipeline's others. */
  prepare(): Promise<readonly string[]> {
    return Promise.resolve([])
  }

  async recover(assigned: readonly Assignment[]): Promise<readonly Recovered[]> {
    const before = assigned.flatMap(({ partition }) => this.#owned.get(partition) ?? [])
    for (const owned of before) owned.isLost = true
    await Promise.allSettled(before.map(({ busy }) => busy))
    await Promise.all(before.map(({ record }) => record.close()))
    const records = await PartitionRecord.open(this.#record, assigned)
    for (const [i, assignment] of assigned.entries()) {
      this.#owned.set(assignment.partition, this.#own(assignment, records[i]!))
    }
    this.#timer ??= setInterval(() => this.#look(), this.#options.lookEveryMs ?? 1_000).unref()
    return records.map(({ position }) => ({ position, note: null }))
  }

  async write(batch: RowBatch): Promise<null> {
    const owned = this.#owned.get(batch.partition)
    if (owned === undefined) throw new SinkError('UNAVAILABLE', `${this.destination} has to recover first.`)
    await exclusively(owned, () => this.#write(owned, batch))
    return null
  }

  /** The input has ended, so every run is over. */
  async flush(): Promise<void> {
    for (const owned of this.#owned.values()) {
      await exclusively(owned, () => this.#closeRuns(owned, () => true))
    }
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    await Promise.all(
      [...this.#owned.values()].map(async (owned) => {
        owned.isLost = true
        await owned.busy.catch(() => undefined)
        await owned.record.close()
      }),
    )
    this.#owned.clear()
  }

  #own(assignment: Assignment, record: PartitionRecord): Owned {
    const now = this.#clock.nowMs()
    const { random = Math.random } = this.#options
    return {
      assignment,
      record,
      // What came while nobody was here is read first: quiet begins now.
      heardMs: new Map([...record.runs.keys()].map((group) => [group, now])),
      busy: Promise.resolve(),
      backoff: new Backoff({ maxMs: MAX_BACKOFF_MS, random }),
      tryAtMs: 0,
      isLost: false,
    }
  }

  async #write(owned: Owned, { next: end, ...batch }: RowBatch): Promise<void> {
    const { partition, incarnation } = owned.assignment
    const rows = decodeRows(this.destination, { next: end, ...batch }, (row, offset) =>
      alertOf(this.#options.alerts, row, { incarnation, partition, offset }),
    )
    for (const { value, offset, writtenMs } of rows) {
      // After a refusal or a failure the runner comes again with what is dealt with already.
      if (offset < (owned.record.position?.next ?? 0)) continue
      if (this.#isTooOld(value.notice, writtenMs) && this.#trying.get(partition) !== offset) {
        this.#tell('too-old')
        continue
      }
      await this.#take(owned, value)
    }
    if ((owned.record.position?.next ?? -1) < end)
      await owned.record.write({ next: end, runs: [], refused: [] })
  }

  async #take(owned: Owned, alert: Alert): Promise<void> {
    const { heardMs, assignment, record } = owned
    const { notice, group, kind } = alert
    const wasTried = this.#trying.has(assignment.partition)
    this.#trying.set(assignment.partition, notice.offset)
    if (kind !== null && !record.runs.has(group)) await this.#makeRoom(owned, notice.offset)
    const due = steps(record.runs.get(group) ?? null, alert)
    for (const [i, step] of due.entries()) {
      const isDone = i === due.length - 1
      const lastOf = isDone ? null : (record.runs.get(group) ?? null)
      await this.#carryOut(owned, group, step, lastOf, isDone ? notice.offset + 1 : notice.offset)
    }
    this.#trying.delete(assignment.partition)
    const now = this.#clock.nowMs()
    // While it held up the others, nobody could be heard.
    if (wasTried) for (const other of heardMs.keys()) heardMs.set(other, now)
    if (kind !== null) heardMs.set(group, now)
  }

  /** @param lastOf the run that a notice is the last of; null: of none */
  async #carryOut(owned: Owned, group: string, step: Step, lastOf: Run | null, next: number): Promise<void> {
    const { notice, run } = step
    const refused: RefusedRecord[] = []
    if (notice !== null && lastOf !== null && this.#isTooOldAsLast(lastOf)) this.#tell('too-old')
    else if (notice !== null) {
      const refusal = await this.#deliver(notice)
      if (refusal !== null) {
        const payload = Buffer.from(JSON.stringify(notice))
        refused.push({ offset: notice.offset, reason: refusal, field: null, payload })
      }
    }
    await owned.record.write({ next, runs: run === null ? [] : [[group, run]], refused })
  }

  /** @returns why the notice was refused for good; null: it was not */
  async #deliver(notice: Notice): Promise<string | null> {
    const restMs = this.#leaveAloneUntilMs - this.#clock.nowMs()
    const { channel } = this.#options
    if (restMs > 0) {
      const seconds = Math.ceil(restMs / 1_000)
      throw new SinkError(
        'UNAVAILABLE',
        `The ${channel.description} asked to be left alone for ${seconds} s more.`,
      )
    }
    try {
      await channel.send(notice)
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error
      const { code, message, retryAfterMs } = error
      if (code === 'REFUSED') {
        this.#tell('refused')
        this.#options.notice(`${this.destination}: ${message} The notice ${notice.key} is a dead letter now.`)
        return message
      }
      this.#tell('retried')
      this.#leaveAloneUntilMs = this.#clock.nowMs() + (retryAfterMs ?? 0)
      throw new SinkError('UNAVAILABLE', message, { cause: error })
    }
    this.#tell('delivered')
    return null
  }

  /** Runs that nobody has gone on with for long are over. */
  #look(): void {
    const now = this.#clock.nowMs()
    for (const [partition, owned] of this.#owned) {
      // Who is held up by a row may have more to read.
      if (this.#trying.has(partition)) continue
      const isOver = (group: string, run: Run): boolean =>
        now - (owned.heardMs.get(group) ?? now) >= quietMs(run)
      const isDue = [...owned.record.runs].some(([group, run]) => run.waiting !== null && isOver(group, run))
      if (!isDue || owned.isLost || now < owned.tryAtMs) continue
      // Until it is done, no further look.
      owned.tryAtMs = Number.POSITIVE_INFINITY
      void this.#closeQuiet(owned, isOver)
    }
  }

  async #closeQuiet(owned: Owned, isOver: (group: string, run: Run) => boolean): Promise<void> {
    try {
      await exclusively(owned, async () => {
        if (owned.backoff.tries > 0) await this.#reopen(owned)
        // Nobody says when a partition has gone to another process; writing does.
        const { position } = owned.record
        if (position !== null) await owned.record.write({ next: position.next, runs: [], refused: [] })
        await this.#closeRuns(owned, isOver)
      })
      if (owned.backoff.tries > 0) this.#options.notice(`${this.destination}: sending again.`)
      owned.backoff.reset()
      owned.tryAtMs = 0
    } catch (error) {
      if (error instanceof SinkError && error.code === 'STALE_POSITION') {
        owned.isLost = true
        return
      }
      if (owned.backoff.tries === 0 && !owned.isLost) {
        const { message } = error as Error
        this.#options.notice(`${this.destination}: ${message} Nothing is lost; trying again until it works.`)
      }
      owned.tryAtMs = this.#clock.nowMs() + owned.backoff.nextMs()
    }
  }

  /** After a failure nobody knows what of the record is written. */
  async #reopen(owned: Owned): Promise<void> {
    if (owned.isLost) return
    await owned.record.close()
    owned.record = (await PartitionRecord.open(this.#record, [owned.assignment]))[0]!
  }

  async #closeRuns(owned: Owned, isOver: (group: string, run: Run) => boolean): Promise<void> {
    const { record } = owned
    for (const [group, run] of [...record.runs]) {
      if (owned.isLost) return
      if (run.waiting === null || !isOver(group, run)) continue
      await this.#carryOut(owned, group, close(run), run, record.position?.next ?? 0)
    }
  }

  /** The run that was quiet for longest gives way. */
  async #makeRoom(owned: Owned, next: number): Promise<void> {
    const { record, heardMs } = owned
    if (record.runs.size < (this.#options.maxGroups ?? 1_000)) return
    let [quietest, sinceMs] = ['', Number.POSITIVE_INFINITY]
    for (const [group, heard] of heardMs) if (heard < sinceMs) [quietest, sinceMs] = [group, heard]
    const run = record.runs.get(quietest)
    if (run !== undefined && run.waiting !== null)
      await this.#carryOut(owned, quietest, close(run), run, next)
    await record.write({ next, runs: [[quietest, null]], refused: [] })
    heardMs.delete(quietest)
  }

  #isTooOld(notice: Notice, writtenMs: number): boolean {
    return ageMsOf(notice, writtenMs, this.#clock.nowMs()) > this.#maxAgeMs
  }

  #isTooOldAsLast(run: Run): boolean {
    return this.#clock.nowMs() - run.endMs > maxAgeOfLastMs(run, this.#maxAgeMs)
  }

  #tell(kind: NoticeEvent['kind']): void {
    this.#options.tell?.({ kind, destination: this.destination })
  }
}

/** One after the other, whatever becomes of the one before. */
function exclusively<T>(owned: Owned, action: () => Promise<T>): Promise<T> {
  const done = owned.busy.then(action, action)
  owned.busy = done.catch(() => undefined)
  return done
}
