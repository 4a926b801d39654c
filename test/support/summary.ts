import { reasonsOfSkipped, removeRunDirectory } from './servers.ts'

/** Says at the end of a mocha run what could not run for want of a server; `.mocharc.cjs` requires this file. */
export function mochaGlobalTeardown(): void {
  const reasons = reasonsOfSkipped()
  removeRunDirectory()
  if (reasons.length === 0) return
  console.log('  Tests were skipped for want of a server (REQUIRE_STACK=1 makes them fail):')
  for (const reason of reasons) console.log(`    ${reason}`)
  console.log()
}
