import { distance } from 'fastest-levenshtein'

/** The candidate that was probably meant: at most two slips away, and fewer than half of the letters. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = Math.min(3, Math.ceil(word.length / 2))
  for (const candidate of candidates) {
    const slips = distance(word.toLowerCase(), candidate.toLowerCase())
    if (slips < bestDistance) {
      best = candidate
      bestDistance = slips
    }
  }
  return best
}

/** ` Did you mean 'x'?`, or what there is to choose from. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates)
  const choices = candidates.map((candidate) => `'${candidate}'`).join(', ')
  if (meant !== null) return `Did you mean '${meant}'? (There are: ${choices}.)`
  return candidates.length === 0 ? 'There are none.' : `There are: ${choices}.`
}
