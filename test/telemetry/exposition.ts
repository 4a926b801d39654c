/** Reads Prometheus' text format, as far as tests need it. */

/** Types by family. */
export function familiesOf(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]))
}

/** A sample's value, its labels in any order; null where there is none. */
export function valueOf(text: string, name: string, labels: Readonly<Record<string, string>>): number | null {
  const wanted = JSON.stringify(Object.entries(labels).sort())
  for (const line of text.split('\n')) {
    const sample = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (sample?.[1] !== name) continue
    const found = [...(sample[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [
      key,
      value,
    ])
    if (JSON.stringify(found.sort()) === wanted) return Number(sample[3])
  }
  return null
}
