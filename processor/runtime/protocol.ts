/**
 * The steps of the open and commit protocol, as docs/exactly-once.md numbers them. A step is told
 * when it is done, so that a test can stop a process right behind it.
 */
export type ProtocolStep =
  | 'open.1'
  | 'open.2'
  | 'open.3'
  | 'open.4'
  | 'open.5'
  | 'open.6'
  | 'commit.1'
  | 'commit.2'
  | 'commit.3'
  | 'commit.4'
  | 'commit.5'
  | 'commit.6'

export const PROTOCOL_STEPS: readonly ProtocolStep[] = [
  'open.1',
  'open.2',
  'open.3',
  'open.4',
  'open.5',
  'open.6',
  'commit.1',
  'commit.2',
  'commit.3',
  'commit.4',
  'commit.5',
  'commit.6',
]

export type StepObserver = (step: ProtocolStep) => void
