import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { quotedName } from '../../../sinks/local/types.ts'
import { openWarehouse } from '../../../sinks/local/warehouse.ts'
import { sinkContract } from '../../contract/sink.ts'
import { readFile, removeDirectory, temporaryDirectory } from './support.ts'

sinkContract(
  'DuckDB',
  async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'warehouse.duckdb')
    const warehouse = await openWarehouse({ path })
    return {
      sink: (table) => warehouse.sink(table),
      // A copy, as it would be found after a crash: what is not durable is not in it.
      rows: async (table) => {
        const copy = join(directory, 'copy.duckdb')
        copyFileSync(path, copy)
        if (existsSync(`${path}.wal`)) copyFileSync(`${path}.wal`, `${copy}.wal`)
        return await readFile(copy, `SELECT * FROM ${quotedName(table.name)} ORDER BY rowid`)
      },
      close: async () => {
        await warehouse.close()
        removeDirectory(directory)
      },
    }
  },
  { upserts: true },
)
