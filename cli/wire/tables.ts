export type { QueryResult } from '../../sinks/local/query.ts'
export { queryWarehouse } from '../../sinks/local/query-client.ts'
