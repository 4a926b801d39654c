import type { SourceNotice } from '../../../bridge/errors.ts'
import type { Origin, SourceInput } from '../../../bridge/reader.ts'

/** What a source was given, up to its last commit. */
export interface Given {
  readonly values: unknown[]
  readonly refused: { readonly reason: string; readonly field: string | null; readonly origin: Origin }[]
  readonly notices: SourceNotice[]
}

/**
 * Reads an input to its end as a run does that dies now and then: what was read since the last commit is gone
 * with it, and the next one goes on from the positions of that commit.
 * @param moments what happens after each read: nothing, a commit, or a death; nothing more when they run out
 */
export async function readWithCrashes(
  input: SourceInput,
  moments: readonly ('read' | 'commit' | 'crash')[] = [],
): Promise<Given> {
  const given: Given = { values: [], refused: [], notices: [] }
  const stored = new Map<string, string>()
  let at = 0
  for (;;) {
    const since: Given = { values: [], refused: [], notices: given.notices }
    const reader = await input.open({
      source: 'orders',
      stored,
      finite: true,
      nowMs: 0,
      signal: new AbortController().signal,
      notice: (notice) => given.notices.push(notice),
    })
    const sink = {
      value: (json: unknown) => void since.values.push(json),
      reject: (reason: string, field: string | null, origin: Origin) =>
        void since.refused.push({ reason, field, origin: copyOf(origin) }),
    }
    let moment: 'read' | 'commit' | 'crash' = 'read'
    for (let state = 'more'; state !== 'done' && moment !== 'crash';) {
      state = await reader.read(sink, 0)
      moment = state === 'done' ? 'commit' : (moments[at++] ?? 'read')
      if (moment !== 'commit') continue
      for (const { key, value } of reader.takePositions()) stored.set(key, value)
      given.values.push(...since.values.splice(0))
      given.refused.push(...since.refused.splice(0))
    }
    await reader.close()
    if (moment !== 'crash') return given
  }
}

function copyOf(origin: Origin): Origin {
  const { source, position, line, byteLength, fallbackEventTimeMs } = origin
  const buffer = Buffer.from(origin.buffer.subarray(origin.start, origin.end))
  return { source, position, line, buffer, start: 0, end: buffer.length, byteLength, fallbackEventTimeMs }
}
