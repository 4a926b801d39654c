import type { Mark, TaskWatermark } from '../../schemas/marks.ts'

/** How far a stream has come in event time (design §7). -Infinity: nothing is known yet. */
export interface StreamTime {
  /** No record with an event time before this is outstanding. Never falls. */
  readonly watermark: number
  /** Windows that begin at or before it are closed by an end mark. */
  readonly e: number
}

/** Streams of one task that become one: as far as the one that is furthest behind. */
export class MergedTime implements StreamTime {
  readonly times: StreamTime[] = []

  get watermark(): number {
    return Math.min(...this.times.map(({ watermark }) => watermark))
  }

  get e(): number {
    return Math.min(...this.times.map(({ e }) => e))
  }
}

/** Time of one input partition, moved by its marks; records move only what others write. */
export interface InputTime extends StreamTime {
  /** No record ingested before this will come. */
  readonly ingested: number
  /** An end mark was the last that its source has said. */
  readonly isEnded: boolean
  /** @param timestampMs the mark's own ingestion time */
  observe(mark: Mark, timestampMs: number): void
  /** Told the ingestion time of the input's records, which never falls. */
  advanceIngestion(timestampMs: number): void
  /** Told how far a topic that others write has come by its records: it has no heartbeats. */
  advanceTo(watermarkMs: number): void
  snapshot(): TimeSnapshot
}

export type TimeSnapshot =
  | {
      readonly kind: 'source'
      readonly watermark: number | null
      readonly e: number | null
      readonly ingested: number | null
      /** Absent: not so. */
      readonly isEnded?: boolean
      readonly writers: Readonly<Record<string, { t: number; expiresMs: number | null }>>
    }
  | { readonly kind: 'upstream'; readonly tasks: readonly TaskWatermark[] }

interface Writer {
  t: number
  expiresMs: number
}

/** A source partition: the least T of its writers whose lease has not run out; held where none remains. */
export class SourceTime implements InputTime {
  watermark = -Infinity
  e = -Infinity
  ingested = -Infinity
  isEnded = false
  readonly #writers = new Map<string, Writer>()

  constructor(snapshot?: TimeSnapshot) {
    if (snapshot?.kind !== 'source') return
    this.watermark = snapshot.watermark ?? -Infinity
    this.e = snapshot.e ?? -Infinity
    this.ingested = snapshot.ingested ?? -Infinity
    this.isEnded = snapshot.isEnded ?? false
    for (const [name, { t, expiresMs }] of Object.entries(snapshot.writers)) {
      this.#writers.set(name, { t, expiresMs: expiresMs ?? Infinity })
    }
  }

  observe(mark: Mark, timestampMs: number): void {
    this.advanceIngestion(timestampMs)
    this.isEnded = mark.kind === 'end'
    if (mark.kind === 'end') this.e = Math.max(this.e, mark.e)
    if (mark.kind !== 'heartbeat') return
    const expiresMs = mark.leaseMs === undefined ? Infinity : timestampMs + mark.leaseMs
    this.#writers.set(mark.writer, { t: mark.t, expiresMs })
    this.#advance(timestampMs)
  }

  advanceIngestion(timestampMs: number): void {
    if (timestampMs > this.ingested) this.ingested = timestampMs
  }

  advanceTo(watermarkMs: number): void {
    if (watermarkMs > this.watermark) this.watermark = watermarkMs
  }

  snapshot(): TimeSnapshot {
    const writers: Record<string, { t: number; expiresMs: number | null }> = {}
    for (const [name, { t, expiresMs }] of this.#writers) writers[name] = { t, expiresMs: orNull(expiresMs) }
    return {
      kind: 'source',
      watermark: orNull(this.watermark),
      e: orNull(this.e),
      ingested: orNull(this.ingested),
      ...(this.isEnded && { isEnded: true }),
      writers,
    }
  }

  #advance(nowMs: number): void {
    let least = Infinity
    for (const [name, { t, expiresMs }] of this.#writers) {
      if (expiresMs < nowMs) this.#writers.delete(name)
      else least = Math.min(least, t)
    }
    if (least !== Infinity) this.watermark = Math.max(this.watermark, least)
  }
}

/** A repartition partition: the least of what all upstream tasks have promised. */
export class UpstreamTime implements InputTime {
  watermark = -Infinity
  e = -Infinity
  ingested = -Infinity
  readonly isEnded = false
  readonly #tasks = new Map<string, { watermark: number; e: number; ingested: number }>()

  constructor(upstreamTasks: readonly string[], snapshot?: TimeSnapshot) {
    for (const task of upstreamTasks) {
      this.#tasks.set(task, { watermark: -Infinity, e: -Infinity, ingested: -Infinity })
    }
    if (snapshot?.kind === 'upstream') this.#take(snapshot.tasks)
  }

  observe(mark: Mark): void {
    if (mark.kind === 'watermark') this.#take(mark.tasks)
  }

  /** A record's own ingestion time lies in the record; only the upstream tasks know their least. */
  advanceIngestion(): void {}

  /** Records of our own tasks do not move it: the tasks promise. */
  advanceTo(): void {}

  snapshot(): TimeSnapshot {
    const tasks: TaskWatermark[] = []
    for (const [task, time] of this.#tasks) {
      tasks.push({
        task,
        ...(time.watermark === -Infinity ? {} : { watermark: time.watermark }),
        ...(time.e === -Infinity ? {} : { e: time.e }),
        ...(time.ingested === -Infinity ? {} : { ingested: time.ingested }),
      })
    }
    return { kind: 'upstream', tasks }
  }

  #take(tasks: readonly TaskWatermark[]): void {
    for (const { task, watermark, e, ingested } of tasks) {
      const time = this.#tasks.get(task)
      if (time === undefined) continue
      time.watermark = Math.max(time.watermark, watermark ?? -Infinity)
      time.e = Math.max(time.e, e ?? -Infinity)
      time.ingested = Math.max(time.ingested, ingested ?? -Infinity)
    }
    const all = [...this.#tasks.values()]
    this.watermark = Math.min(...all.map((time) => time.watermark))
    this.e = Math.min(...all.map((time) => time.e))
    this.ingested = Math.min(...all.map((time) => time.ingested))
  }
}

function orNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
