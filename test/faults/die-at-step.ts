/**
 * Loaded with `--import` before the command: ends its process with SIGKILL right behind a step of the open or
 * commit protocol. FAULTS_DIE_AT is `<step>:<n>`, the n-th time that the step is done.
 */
import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { LAST_WORDS } from './last-words.ts'

const [step, times] = (process.env['FAULTS_DIE_AT'] ?? '').split(':')
let left = Number(times)

subscribe('millrace:protocol-step', (message) => {
  if ((message as { readonly step: string }).step !== step || --left > 0) return
  writeSync(2, `${LAST_WORDS}${step}\n`)
  process.kill(process.pid, 'SIGKILL')
})
