import { TopologyError } from './graph.ts'

const INTEGER = /^(0|[1-9]\d*)$/

/** @throws TopologyError BAD_OPTION where what is written is not the order that it is taken in */
export function checkBranches(name: string, branches: readonly (readonly [string, unknown])[]): void {
  const place = `${name} (${branches.map(([branch]) => branch).join(', ')})`
  if (branches.length === 0) throw new TopologyError('BAD_OPTION', `${place}: it has no branch.`)
  const number = branches.find(([branch]) => INTEGER.test(branch))
  if (number !== undefined) {
    throw new TopologyError(
      'BAD_OPTION',
      `${place}: a branch named ${number[0]} would come before the others, wherever it is written. Begin its name with a letter.`,
    )
  }
  const rest = branches.findIndex(([, fn]) => fn === true)
  if (rest < 0 || rest === branches.length - 1) return
  throw new TopologyError(
    'BAD_OPTION',
    `${place}: '${branches[rest]![0]}' takes all that is left, so that nothing would reach the branches behind it. Put it last.`,
  )
}
