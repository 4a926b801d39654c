import { counted } from '../output/format.ts'
import type { Mismatch, ProvisionPlan } from './compare.ts'

const DAY_MS = 86_400_000

/** The plan in words, before anything is done. Names stand whole: they are copied. */
export function planReport(plan: ProvisionPlan): string {
  const { create, change, partitions, copies, kept, fitting } = plan
  const rows = [
    ...create.map(({ name, config, settings }) => {
      const { partitions, cleanup, retentionMs, replicationFactor } = config
      const inSync = settings['min.insync.replicas']
      const parts = [
        counted(partitions, 'partition'),
        counted(replicationFactor ?? 1, 'copy', 'copies'),
        ...(inSync === undefined ? [] : [`${inSync} in sync`]),
        cleanup,
        ...(cleanup === 'delete' ? [keptFor(retentionMs)] : []),
      ]
      return { sign: '+ create', name, how: parts.join(', ') }
    }),
    ...change.flatMap(({ topic, settings }) =>
      settings.map(({ setting, from, to }) => ({
        sign: '~ change',
        name: topic,
        how: `${setting}: ${from === '' ? '(none)' : from} → ${to}`,
      })),
    ),
  ]
  const width = Math.max(0, ...rows.map(({ name }) => name.length))
  const lines = [
    ...rows.map(({ sign, name, how }) => `  ${sign}  ${name.padEnd(width)}  ${how}`),
    ...(partitions.length === 0 ? [] : [`  ✗ ${partitionsText(partitions)}`]),
    ...(copies.length === 0 ? [] : [`  ! ${copiesText(copies)}`]),
    ...kept.map((text) => `  - ${text}`),
    ...(fitting === 0 ? [] : [`  = ${counted(fitting, 'topic is', 'topics are')} as wanted`]),
  ]
  return `${lines.join('\n')}\n`
}

export function partitionsText(mismatches: readonly Mismatch[]): string {
  const [first] = mismatches
  const found = [...new Set(mismatches.map((each) => each.found))]
  const goOn =
    found.length === 1 ? `go on with --partitions ${found[0]!}` : 'go on with the number of the source topic'
  return (
    `${counted(mismatches.length, 'topic has', 'topics have')} another number of partitions than is wanted ` +
    `(${first!.topic}: ${first!.found}, not ${first!.wanted}${mismatches.length > 1 ? ', …' : ''}). The number is chosen ` +
    `once, since keys and state are spread by it: ${goOn}, or, while nothing is in them, delete them ` +
    `(kafka-topics.sh --delete --topic …) and provision again.`
  )
}

export function copiesText(mismatches: readonly Mismatch[]): string {
  const [first] = mismatches
  return (
    `${counted(mismatches.length, 'topic has', 'topics have')} too few copies (${first!.topic}: ${first!.found}, not ` +
    `${first!.wanted}${mismatches.length > 1 ? ', …' : ''}): kafka-reassign-partitions.sh adds them.`
  )
}

function keptFor(retentionMs: number): string {
  return retentionMs < 0 ? 'kept for ever' : `kept for ${(retentionMs / DAY_MS).toFixed(1)} days`
}
