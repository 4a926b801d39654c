/**
 * Node itself strips the types. Files run in parallel (they share nothing: each has its own directory
 * under the system's temporary one), on two workers, which is what CI machines have. The files stand in
 * package.json, as mocha would add a spec here to those named on the command line.
 */
module.exports = {
  // Says at the end what was skipped for want of a server.
  require: ['./test/support/summary.ts'],
  timeout: 180_000,
  slow: 2_000,
  parallel: true,
  jobs: 2,
}
