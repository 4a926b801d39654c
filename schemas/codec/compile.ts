/**
 * Turns generated source into a function or class. This is the one place that evaluates text: what the
 * generators put into it are constants, numbers, and names that `defineFields` has found to be identifiers.
 *
 * @param source the body of a function that returns what is wanted, in strict mode
 * @param runtime what the source may refer to, by name
 */
export function compile(source: string, runtime: Readonly<Record<string, unknown>>): unknown {
  const names = Object.keys(runtime)
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- see above
  const make = new Function(...names, `'use strict'\n${source}`) as (...values: unknown[]) => unknown
  return make(...names.map((name) => runtime[name]))
}
