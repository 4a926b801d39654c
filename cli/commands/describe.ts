import { describeMermaid, describeText } from '../../processor/topology/describe.ts'
import { planPipeline } from '../../processor/topology/plan.ts'
import type { Io } from '../io.ts'
import { loadPipeline } from '../pipelines/load.ts'
import { DEFAULT_PARTITIONS, resolveSettings } from '../settings/settings.ts'

export interface DescribeArguments {
  readonly pipeline: string
  readonly mermaid: boolean
  readonly io: Io
}

/** Prints the topology as it would run with the settings as they are. */
export async function describeCommand({ pipeline: name, mermaid, io }: DescribeArguments): Promise<void> {
  const { pipeline } = await loadPipeline(name, io.cwd)
  // Nothing runs, so a broker in the environment changes nothing.
  const { partitions } = resolveSettings({ flags: { embedded: true }, env: io.env, cwd: io.cwd })
  const plan = planPipeline(pipeline, { partitions: partitions ?? DEFAULT_PARTITIONS })
  io.stdout.write(mermaid ? describeMermaid(plan) : describeText(plan))
}
