const DAY_MS = 86_400_000
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
const [UPPER_T, UPPER_Z, SPACE, COLON, DOT, PLUS, MINUS] = [0x54, 0x5a, 0x20, 0x3a, 0x2e, 0x2b, 0x2d]

/**
 * Reads an ISO-8601 time: `2026-03-01`, `2026-03-01T10:20`, `2026-03-01 10:20:30.123456`, with `Z`, `+01:00`,
 * `+0100` or `+01` behind it, else UTC. Digits beyond the microsecond are cut off.
 *
 * @returns epoch milliseconds with fractions, or NaN where the text is no such time
 */
export function parseInstantMs(text: string): number {
  const length = text.length
  const days = parseDays(text)
  if (length === 10) return days * DAY_MS
  const between = text.charCodeAt(10)
  if ((between !== UPPER_T && between !== SPACE) || text.charCodeAt(13) !== COLON) return NaN
  const hour = twoDigits(text, 11)
  const minute = twoDigits(text, 14)
  let ms = hour <= 23 && minute <= 59 ? days * DAY_MS + hour * 3_600_000 + minute * 60_000 : NaN
  let at = 16
  if (text.charCodeAt(at) === COLON) {
    const second = twoDigits(text, at + 1)
    ms = second <= 59 ? ms + second * 1000 : NaN
    at += 3
    if (text.charCodeAt(at) === DOT) {
      const from = ++at
      while (at < length && isDigit(text.charCodeAt(at))) at++
      if (at === from || at - from > 9) return NaN
      const kept = Math.min(at - from, 6)
      ms += (digits(text, from, kept) * 10 ** (6 - kept)) / 1000
    }
  }
  return ms - offsetMs(text, at)
}

function parseDays(text: string): number {
  if (text.length < 10 || text.charCodeAt(4) !== MINUS || text.charCodeAt(7) !== MINUS) return NaN
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2)
  const month = twoDigits(text, 5)
  const day = twoDigits(text, 8)
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const last = month === 2 && isLeap ? 29 : DAYS_IN_MONTH[month - 1]
  if (last === undefined || !(day >= 1 && day <= last)) return NaN
  return daysSinceEpoch(year, month, day)
}

/** Days of the proleptic Gregorian calendar, counted in years that begin in March (Hinnant's days_from_civil). */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const marchYear = month > 2 ? year : year - 1
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const century = Math.floor(marchYear / 100)
  return marchYear * 365 + Math.floor(marchYear / 4) - century + Math.floor(century / 4) + dayOfYear - 719_468
}

/** What to take away to come to UTC; NaN where something else stands behind the time. */
function offsetMs(text: string, at: number): number {
  const rest = text.length - at
  if (rest === 0) return 0
  const sign = text.charCodeAt(at)
  if (rest === 1) return sign === UPPER_Z ? 0 : NaN
  if (sign !== PLUS && sign !== MINUS) return NaN
  const hours = twoDigits(text, at + 1)
  const colon = text.charCodeAt(at + 3) === COLON ? 1 : 0
  const minutes = rest === 3 ? 0 : rest === 5 + colon ? twoDigits(text, at + 3 + colon) : NaN
  if (!(hours <= 23 && minutes <= 59)) return NaN
  return (hours * 60 + minutes) * (sign === MINUS ? -60_000 : 60_000)
}

function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN
}

function digits(text: string, start: number, count: number): number {
  let value = 0
  for (let i = start; i < start + count; i++) {
    const unit = text.charCodeAt(i)
    if (!isDigit(unit)) return NaN
    value = value * 10 + unit - 48
  }
  return value
}

function isDigit(unit: number): boolean {
  return unit >= 48 && unit <= 57
}
