#!/usr/bin/env -S node --max-semi-space-size=8
// The flag, in MiB: a small young generation costs a little CPU and saves 100 MiB of a run's memory.
// Plain JavaScript, so that an old Node can read it and say what is wrong instead of failing on a type.
import { existsSync } from 'node:fs'
import module from 'node:module'

// A checkout runs its TypeScript as it stands. Node strips no types under node_modules, so a package brings dist.
const isCheckout = existsSync(new URL('./main.ts', import.meta.url))

const [major, minor] = process.versions.node.split('.').map(Number)
// A pipeline of one's own is TypeScript too.
const stripsTypes = major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18)

if (stripsTypes) {
  // Half of a start is compiling. What is cached is not counted line by line, so coverage goes without.
  if (process.env.NODE_V8_COVERAGE === undefined) module.enableCompileCache()
  await import(isCheckout ? './main.ts' : '../dist/cli/main.js')
} else {
  process.stderr.write(
    `error OLD_NODE: this is Node ${process.versions.node}, and Millrace needs 22.18, 23.6 or newer.\n` +
      (isCheckout
        ? "  Run it as 'npx millrace' in the repository after 'npm ci': that brings Node 24 along. If it is there and\n" +
          "  this still appears, npm did not run the install script of the 'node' package: 'npm rebuild node' does.\n"
        : "  Install Node 24 (https://nodejs.org), or have npm bring one along: 'npm install node@24', then\n" +
          "  'npx millrace' again.\n"),
  )
  process.exitCode = 1
}
