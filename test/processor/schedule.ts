import fc from 'fast-check'
import { PROTOCOL_STEPS, type ProtocolStep } from '../../processor/runtime/protocol.ts'
import type { PipelineDriver } from '../../processor/testing/driver.ts'

type Act = 'step' | 'kill' | 'flush-state' | { readonly at: ProtocolStep; readonly nth: number }

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('step' as const) },
  { weight: 1, arbitrary: fc.constant('kill' as const) },
  { weight: 1, arbitrary: fc.constant('flush-state' as const) },
  {
    weight: 3,
    arbitrary: fc.record({ at: fc.constantFrom(...PROTOCOL_STEPS), nth: fc.integer({ min: 1, max: 3 }) }),
  },
)

/** Polls without end, among them deaths at any step of the protocol and lost state. */
export const schedules: fc.Arbitrary<fc.Stream<Act>> = fc.infiniteStream(act)

/** Takes what comes next in the schedule, as between one send and the next. */
export async function follow(schedule: fc.Stream<Act>, driver: PipelineDriver, process = 0): Promise<void> {
  for (const next of schedule.take(4)) {
    if (next === 'step') await driver.step(process)
    else if (next === 'kill') driver.kill(process)
    else if (next === 'flush-state') driver.state.flush()
    else driver.crashAt(next.at, next.nth)
  }
}
