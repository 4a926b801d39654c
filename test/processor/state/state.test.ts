import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedState } from '../../../processor/state/embedded/embedded-state.ts'
import { MemoryState } from '../../../processor/state/memory/memory-state.ts'
import { stateContract } from '../../contract/state.ts'

stateContract('in memory', { durable: false }, () =>
  Promise.resolve({ state: new MemoryState(), close: () => Promise.resolve() }),
)

stateContract('embedded', { durable: true }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-state-'))
  let state = EmbeddedState.open(directory)
  return {
    state,
    reopen: async () => {
      await state.close()
      return (state = EmbeddedState.open(directory))
    },
    close: async () => {
      await state.close()
      await rm(directory, { recursive: true })
    },
  }
})
