import { counted } from '../output/format.ts'
import { ESSENTIAL, RETENTION, type ProvisionPlan } from '../provision/compare.ts'
import { copiesText, partitionsText } from '../provision/report.ts'
import { failure, ok, warning, type Finding } from './findings.ts'

const NAME = 'kafka topics'

/** What provisioning would do, as findings. @param pipeline as the user named it, for the command that mends */
export function topicFindings(
  { create, change, partitions, copies, kept, fitting }: ProvisionPlan,
  pipeline: string,
): Finding[] {
  const provision = `millrace provision ${pipeline}`
  const findings: Finding[] = []
  if (fitting > 0) findings.push(ok(NAME, `${counted(fitting, 'topic is', 'topics are')} as wanted`))
  if (create.length > 0) {
    const what = `${counted(create.length, 'topic is', 'topics are')} missing (${create[0]!.name}${create.length > 1 ? ', …' : ''})`
    findings.push(warning(NAME, `${what}; run makes them, where it may`, provision))
  }
  for (const { topic, settings } of change) {
    const differing = settings.map(
      ({ setting, from, to }) => `${setting} is ${from === '' ? 'not set' : from}, not ${to}`,
    )
    // Compaction or retention against what state needs loses it; the rest only costs.
    const isGrave = settings.some(({ setting }) => ESSENTIAL.has(setting) || RETENTION.has(setting))
    findings.push((isGrave ? failure : warning)(NAME, `${topic}: ${differing.join('; ')}`, provision))
  }
  if (partitions.length > 0) findings.push(failure(NAME, partitionsText(partitions), null))
  if (copies.length > 0) findings.push(warning(NAME, copiesText(copies), null))
  findings.push(...kept.map((text) => ok(NAME, text)))
  return findings
}
