import type { Clock } from '../../../config/clock.ts'
import type { EmbeddedLog } from '../../../log/embedded/embedded-log.ts'
import type { Change, SegmentRef, SegmentStorage } from '../../../log/embedded/storage.ts'

/** Stands still until it is moved. */
export class ManualClock implements Clock {
  #nowMs = 1_700_000_000_000

  nowMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}

/** A store whose writes a test can hold, count and refuse. */
export class TestStorage implements SegmentStorage {
  readonly inner: SegmentStorage
  writes = 0
  /** Throws to refuse, or waits; `apply` is the write itself. */
  onWrite: (changes: readonly Change[], apply: () => Promise<void>) => Promise<void> = (_, apply) => apply()

  constructor(inner: SegmentStorage) {
    this.inner = inner
  }

  entries(): Iterable<readonly [string, string]> {
    return this.inner.entries()
  }

  segmentsFrom(partitionId: number, offset: number, limit: number): SegmentRef[] {
    return this.inner.segmentsFrom(partitionId, offset, limit)
  }

  read(segment: SegmentRef): Buffer | null {
    return this.inner.read(segment)
  }

  async write(changes: readonly Change[]): Promise<void> {
    this.writes++
    await this.onWrite(changes, () => this.inner.write(changes))
  }

  /** What kill -9 does: nothing that is not written yet ever will be. */
  kill(): void {
    this.onWrite = () => new Promise(() => undefined)
  }

  async close(): Promise<void> {
    // A crash leaves the inner store to the next log.
  }
}

/** Key and value, as text, of all that a read_committed reader sees, with offsets. */
export async function readAll(
  log: EmbeddedLog,
  topic: string,
  partition = 0,
): Promise<{ offset: number; key: string | undefined; value: string | undefined; timestampMs: number }[]> {
  const [offsets] = await log.admin.offsets([{ topic, partition }])
  const reader = log.partitionReader({ topic, partition }, offsets!.start)
  const records = []
  for (let batch = await reader.read(1e9); batch !== null; batch = await reader.read(1e9)) {
    for (let i = 0; i < batch.count; i++) {
      records.push({
        offset: batch.offsetAt(i),
        key: batch.keyAt(i)?.toString(),
        value: batch.valueAt(i)?.toString(),
        timestampMs: batch.timestampAt(i),
      })
    }
  }
  return records
}
