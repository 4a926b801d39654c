import type { FieldDefinition } from '../../schemas/fields.ts'
import { SourceError } from '../errors.ts'
import { shownPath } from '../files/paths.ts'

const SHOWN_COLUMNS = 20

/**
 * Compares a file's columns with what the contract requires, once for the file.
 * @throws SourceError FILE_HEADER
 */
export function checkColumns(
  path: string,
  columns: readonly string[],
  fields: readonly FieldDefinition[],
): void {
  const missing = fields.filter(({ name, optional }) => !optional && !columns.includes(name))
  const twice = columns.find((name, i) => columns.indexOf(name) !== i && fields.some((f) => f.name === name))
  if (missing.length === 0 && twice === undefined) return
  const names = missing.map(({ name }) => `'${name}'`).join(', ')
  const what =
    missing.length > 0
      ? `lacks the ${missing.length === 1 ? 'column' : 'columns'} ${names}, which the contract requires`
      : `has the column '${twice!}' twice`
  const shown = columns.slice(0, SHOWN_COLUMNS).map((name) => JSON.stringify(name.slice(0, 80)))
  const more = columns.length > SHOWN_COLUMNS ? ` and ${columns.length - SHOWN_COLUMNS} more` : ''
  throw new SourceError(
    'FILE_HEADER',
    `${shownPath(path)} ${what}. It has ${shown.join(', ')}${more}. ` +
      `Rename its columns as the contract names its fields; nothing of it was read.`,
  )
}
