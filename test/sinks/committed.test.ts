import assert from 'node:assert/strict'
import { decodeCommitNote, encodeCommitNote, startOf, type StartFacts } from '../../sinks/committed.ts'

const INCARNATION = 'cluster/topic'

/** A log from 0 to 100 of which nothing is committed and nothing held, but for what is said. */
function facts(said: {
  committed?: number
  held?: number | null
  recovered?: number
  start?: number
  keepsPositions?: boolean
  committedIncarnation?: string
  recoveredIncarnation?: string
  metadata?: string
}): StartFacts {
  const { committed, recovered, start = 0, keepsPositions = true } = said
  const {
    held = committed ?? null,
    committedIncarnation = INCARNATION,
    recoveredIncarnation = INCARNATION,
  } = said
  const metadata = said.metadata ?? encodeCommitNote({ held, incarnation: committedIncarnation, note: null })
  return {
    destination: 'data.things',
    topic: 'shop.things',
    partition: 3,
    incarnation: INCARNATION,
    offsets: { start, stable: 100, end: 110 },
    committed:
      committed === undefined ? null : { topic: 'shop.things', partition: 3, offset: committed, metadata },
    keepsPositions,
    recovered: recovered === undefined ? null : { next: recovered, incarnation: recoveredIncarnation },
  }
}

describe('where a sink goes on from', () => {
  it('is the start of the log the first time', () => {
    assert.deepEqual(startOf(facts({})), { next: 0, base: null, rewritesBelow: null })
    assert.deepEqual(startOf(facts({ start: 20 })), { next: 20, base: null, rewritesBelow: null })
  })

  it('is the position in the destination, however far behind its commit was left', () => {
    assert.deepEqual(startOf(facts({ recovered: 40 })), { next: 40, base: 40, rewritesBelow: null })
    assert.deepEqual(startOf(facts({ committed: 30, recovered: 40 })), {
      next: 40,
      base: 40,
      rewritesBelow: null,
    })
    assert.deepEqual(startOf(facts({ recovered: 100 })), { next: 100, base: 100, rewritesBelow: null })
  })

  it('is behind the dead letters and marks that were committed after the last row', () => {
    assert.deepEqual(startOf(facts({ committed: 45, held: 40, recovered: 40 })), {
      next: 45,
      base: 40,
      rewritesBelow: null,
    })
    assert.deepEqual(startOf(facts({ committed: 45, held: null })), {
      next: 45,
      base: null,
      rewritesBelow: null,
    })
    assert.deepEqual(startOf(facts({ committed: 45, held: 40, recovered: 60 })).next, 60)
  })

  it('is where an older copy of the table ends, and the rows since then are said to come again', () => {
    assert.deepEqual(startOf(facts({ committed: 45, recovered: 10 })), {
      next: 10,
      base: 10,
      rewritesBelow: 45,
    })
    assert.deepEqual(startOf(facts({ committed: 45 })), { next: 0, base: null, rewritesBelow: 45 })
  })

  it('does not take an offset that somebody else has set for what the table holds', () => {
    assert.deepEqual(startOf(facts({ committed: 90, recovered: 40, metadata: '' })), {
      next: 40,
      base: 40,
      rewritesBelow: 90,
    })
    assert.equal(startOf(facts({ committed: 10, recovered: 40, metadata: '{}' })).next, 40)
  })

  it('is the committed offset where the destination keeps no position', () => {
    const keepsPositions = false
    assert.deepEqual(startOf(facts({ keepsPositions, committed: 30 })), {
      next: 30,
      base: 30,
      rewritesBelow: null,
    })
    assert.equal(startOf(facts({ keepsPositions, start: 7 })).next, 7)
  })

  it('is never guessed: positions of another log, or beyond its end, stop the sink and name the choices', () => {
    for (const wrong of [
      facts({ recovered: 101 }),
      facts({ committed: 101 }),
      facts({ recovered: 10, recoveredIncarnation: 'cluster/older topic' }),
      facts({ recovered: 10, committed: 10, committedIncarnation: 'other/topic' }),
      facts({ keepsPositions: false, committed: 10, committedIncarnation: 'other/topic' }),
    ]) {
      assert.throws(() => startOf(wrong), {
        code: 'POSITION_MISMATCH',
        message: /^data\.things.*shop\.things, partition 3.*move the table away/,
      })
    }
  })

  it('is never a place that skips rows: what is gone from the log stops the sink', () => {
    for (const wrong of [
      facts({ start: 20, recovered: 10 }),
      facts({ start: 20, committed: 45 }),
      facts({ start: 20, committed: 45, recovered: 10 }),
      facts({ start: 20, keepsPositions: false, committed: 10 }),
    ]) {
      assert.throws(() => startOf(wrong), {
        code: 'ROWS_GONE',
        message: /from offset \d+ on, but the log begins at 20/,
      })
    }
  })
})

describe('what a sink commits', () => {
  it('is read back as it was written', () => {
    for (const note of [
      { held: null, incarnation: 'a/b', note: null },
      { held: 0, incarnation: 'a/b', note: 'streams/7 "x"' },
      { held: 2 ** 53 - 1, incarnation: 'ü', note: '' },
    ]) {
      assert.deepEqual(decodeCommitNote(encodeCommitNote(note)), note)
    }
  })

  it('of others is told apart', () => {
    for (const metadata of ['', 'x', 'null', '1', '{}', '[]', '{"incarnation":1}']) {
      assert.equal(decodeCommitNote(metadata), null, metadata)
    }
  })

  it('is no longer than a log keeps', () => {
    assert.throws(
      () => encodeCommitNote({ held: 1, incarnation: 'a/b', note: 'x'.repeat(4_096) }),
      RangeError,
    )
  })
})
