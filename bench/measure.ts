/**
 * Preloaded (`node --import`) into a process that is measured: when it ends, its CPU time and the
 * peak of its anonymous memory go to the file named by MEASURE_FILE. File pages (lmdb's map) are
 * counted apart: the kernel takes them back when it needs them.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const SAMPLE_MS = 100
const file = process.env['MEASURE_FILE']
const startedAt = performance.now()
let peakAnonKiB = 0
let peakFileKiB = 0

function sample(): void {
  const status = readFileSync('/proc/self/status', 'utf8')
  const read = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
  peakAnonKiB = Math.max(peakAnonKiB, read('RssAnon'))
  peakFileKiB = Math.max(peakFileKiB, read('RssFile'))
}

if (file !== undefined) {
  setInterval(sample, SAMPLE_MS).unref()
  process.on('exit', () => {
    sample()
    const { user, system } = process.cpuUsage()
    writeFileSync(
      file,
      JSON.stringify({
        cpuSeconds: (user + system) / 1e6,
        wallSeconds: (performance.now() - startedAt) / 1e3,
        peakAnonMiB: peakAnonKiB / 1024,
        peakFileMiB: peakFileKiB / 1024,
      }),
    )
  })
}

export interface Measurement {
  readonly cpuSeconds: number
  readonly wallSeconds: number
  readonly peakAnonMiB: number
  readonly peakFileMiB: number
}
