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
