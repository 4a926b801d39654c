/** The processor cannot go on as things stand; what to do is in the message. */
export class ProcessorError extends Error {
  readonly code:
    | 'GROUP_RESET'
    | 'INPUT_RECREATED'
    | 'POSITION_OUT_OF_RANGE'
    | 'INSTANCE_SHARED'
    | 'TOPOLOGY_CHANGED'
    | 'PARTITIONS_CHANGED'
    | 'TOPIC_MISSING'
    | 'CHANGELOG_LOST'

  constructor(code: ProcessorError['code'], message: string) {
    super(message)
    this.name = 'ProcessorError'
    this.code = code
  }
}

/**
 * A topic that has another number of partitions than it must have: keys would meet the state of others.
 * @param isWritten whether there is state that was built for the number expected
 */
export function partitionsChanged(
  { name: topic, partitions: found }: { readonly name: string; readonly partitions: number },
  expected: number,
  isWritten: boolean,
): ProcessorError {
  const fault = `Topic ${topic} has ${counted(found)}, but `
  if (!isWritten) {
    return new ProcessorError(
      'PARTITIONS_CHANGED',
      `${fault}${expected} were asked for. The number is chosen once: go on with ${found}, or delete the topic.`,
    )
  }
  const mend =
    found < expected
      ? `somebody has made it again with fewer. Make it again with ${expected} (kafka-topics.sh --create --topic ${topic} ` +
        `--partitions ${expected}); where its records are gone, bring them in again and replay the pipeline.`
      : `it has grown, which cannot be undone, and keys go to other partitions than their state is in. Stop what writes to it ` +
        `and replay the pipeline with ${counted(found)}, which resets state and offsets together.`
  return new ProcessorError(
    'PARTITIONS_CHANGED',
    `${fault}the state that is there was built for ${expected}: ${mend}`,
  )
}

function counted(partitions: number): string {
  return `${partitions} partition${partitions === 1 ? '' : 's'}`
}
