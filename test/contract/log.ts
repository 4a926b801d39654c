import { adminTests, cleaningTests } from './log/cleaning.ts'
import { groupTests, offsetTests } from './log/groups.ts'
import { modelTests } from './log/model.ts'
import { pollTests } from './log/polling.ts'
import { recordTests } from './log/records.ts'
import type { LogUnderTest } from './log/support.ts'
import { fencingTests, transactionTests } from './log/transactions.ts'

export type { LogUnderTest } from './log/support.ts'

/**
 * What every implementation of the log promises to those above it. Written against the port alone:
 * offsets may have gaps, names are new each time, so that it may run against servers that others use.
 *
 * @param open a log for one test; closed by the suite
 */
export function logContract(name: string, open: () => Promise<LogUnderTest>): void {
  describe(`${name}: the log`, () => {
    let subject: LogUnderTest
    beforeEach(async () => {
      subject = await open()
    })
    afterEach(() => subject.close())

    const use = (): LogUnderTest => subject
    describe('records', () => recordTests(use))
    describe('transactions', () => transactionTests(use))
    describe('fencing', () => fencingTests(use))
    describe('group offsets', () => offsetTests(use))
    describe('groups', () => groupTests(use))
    describe('polling', () => pollTests(use))
    describe('positions and cleaning', () => cleaningTests(use))
    describe('administration', () => adminTests(use))
    describe('any interleaving of transactions', () => modelTests(use))
  })
}
