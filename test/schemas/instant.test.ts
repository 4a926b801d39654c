import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseInstantMs } from '../../schemas/instant.ts'

describe('reading a time', () => {
  it('agrees with Date on every ISO time with a zone', () => {
    const at = fc.date({
      min: new Date('0000-01-01'),
      max: new Date('9999-12-31T23:59:59Z'),
      noInvalidDate: true,
    })
    fc.assert(
      fc.property(at, fc.constantFrom('Z', '+00:00', '+01:00', '-05:30', '+14:00'), (date, zone) => {
        const text = date.toISOString().slice(0, -1) + zone
        assert.equal(parseInstantMs(text), Date.parse(text))
      }),
      { numRuns: 1000 },
    )
  })

  const times: [text: string, iso: string][] = [
    ['2026-03-01', '2026-03-01T00:00:00Z'],
    ['2026-03-01T10:20', '2026-03-01T10:20:00Z'],
    ['2026-03-01 10:20:30', '2026-03-01T10:20:30Z'],
    ['2026-03-01 10:20:30.5', '2026-03-01T10:20:30.500Z'],
    ['2026-03-01T10:20Z', '2026-03-01T10:20:00Z'],
    ['2026-03-01T10:20:30+0130', '2026-03-01T08:50:30Z'],
    ['2026-03-01T10:20:30-02', '2026-03-01T12:20:30Z'],
    ['2024-02-29', '2024-02-29T00:00:00Z'],
    ['2000-02-29', '2000-02-29T00:00:00Z'],
  ]
  for (const [text, iso] of times) {
    it(`takes ${text} as ${iso}`, () => assert.equal(parseInstantMs(text), Date.parse(iso)))
  }

  it('keeps microseconds and cuts off what is finer', () => {
    assert.equal(parseInstantMs('1970-01-01T00:00:00.000001Z'), 0.001)
    assert.equal(parseInstantMs('1970-01-01T00:00:01.123456789'), 1123.456)
    assert.equal(parseInstantMs('1970-01-01T00:00:01.12'), 1120)
  })

  const none = [
    '', ' ', 'now', '2026', '2026-03', '2026-3-1', '2026-13-01', '2026-00-10', '2026-02-30', '2026-04-31',
    '1900-02-29', '2026-03-00', '2026-03-01T', '2026-03-01T10', '2026-03-01T24:00', '2026-03-01T10:60',
    '2026-03-01T10:20:60', '2026-03-01T10:20:3', '2026-03-01T10:20:30.', '2026-03-01T10:20:30.1234567890',
    '2026-03-01T10:20:30 Z', '2026-03-01T10:20:30+1', '2026-03-01T10:20:30+24:00', '2026-03-01T10:20:30+01:60',
    '2026-03-01T10:20:30+01:', '2026-03-01T10:20:30+010', '2026-03-01T10:20:30+01000', '2026-03-01T10:20:30UTC',
    '2026/03/01', '01-03-2026', '+2026-03-01', '2026-03-01x10:20', ' 2026-03-01', '2026-03-01 ', '٢٠٢٦-٠٣-٠١',
    '2026-03-01T10:20:30Z ', '2026-03-01T10:20:', '2026-03-01T10:2',
  ] // prettier-ignore
  for (const text of none) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseInstantMs(text), NaN))
  }

  it('takes or refuses any text in no time', () => {
    fc.assert(fc.property(fc.string(), (text) => assert.equal(typeof parseInstantMs(text), 'number')))
    assert.equal(parseInstantMs(`2026-03-01T10:20:30.${'1'.repeat(10_000_000)}`), NaN)
  })
})
