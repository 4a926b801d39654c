/**
 * How much the expensive tests do. CI shortens them here and nowhere else: `CI=true` takes the small
 * figures, `FULL=1` the large ones (before a release, or after touching the commit protocol).
 */
export interface TestScale {
  /** kill -9 of a whole run of `orders` on the shared data, at random moments. */
  readonly kills: number
  /** kill -9 of one part (the log, a sink) on its own. */
  readonly partKills: number
  /** Copies of a data directory, taken at random moments of a run, that are opened and finished. */
  readonly copies: number
  /** Runs of a property test that keeps to memory. */
  readonly propertyRuns: number
  /** Runs of a property test that starts a whole topology or touches the disk. */
  readonly slowPropertyRuns: number
  /** Simulated seeds of each family of scenarios. */
  readonly simulatedSeedsAFamily: number
  /** Within so many seeds of its families a deliberate fault of the protocol must be caught. */
  readonly mutationSeeds: number
  /** kill -9 in `npm run test:faults`, beside the other faults. */
  readonly faultKills: number
}

const SCALES = {
  ci: {
    kills: 4,
    partKills: 3,
    copies: 3,
    propertyRuns: 100,
    slowPropertyRuns: 15,
    simulatedSeedsAFamily: 25,
    mutationSeeds: 800,
    faultKills: 12,
  },
  developer: {
    kills: 5,
    partKills: 5,
    copies: 4,
    propertyRuns: 200,
    slowPropertyRuns: 25,
    simulatedSeedsAFamily: 25,
    mutationSeeds: 800,
    faultKills: 20,
  },
  full: {
    kills: 25,
    partKills: 25,
    copies: 40,
    propertyRuns: 5_000,
    slowPropertyRuns: 500,
    simulatedSeedsAFamily: 1_000,
    mutationSeeds: 3_000,
    faultKills: 200,
  },
} satisfies Record<string, TestScale>

/** The scale that the environment asks for; FULL wins over CI. */
export function testScaleOf(env: Readonly<Record<string, string | undefined>>): TestScale {
  if (isSet(env['FULL'])) return SCALES.full
  return isSet(env['CI']) ? SCALES.ci : SCALES.developer
}

export const testScale: TestScale = testScaleOf(process.env)

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== '0' && value !== 'false'
}
