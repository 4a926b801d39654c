#!/usr/bin/env -S node --max-semi-space-size=8
// The flag, in MiB: a small young generation costs a little CPU and saves 100 MiB of a run's memory.
// Plain JavaScript, so that an old Node can read it and say what is wrong instead of failing on a type.
const [major, minor] = process.versions.node.split('.').map(Number)
const stripsTypes = major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18)

if (stripsTypes) {
  await import('./main.ts')
} else {
  process.stderr.write(
    `error OLD_NODE: this is Node ${process.versions.node}, and Millrace needs 22.18 or newer.\n` +
      "  Run it as 'npx millrace' in the repository after 'npm ci': that brings Node 24 along. If it is there and\n" +
      "  this still appears, npm did not run the install script of the 'node' package: 'npm rebuild node' does.\n",
  )
  process.exitCode = 1
}
