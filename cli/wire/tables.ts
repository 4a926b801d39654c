export type { QueryResult } from '../../sinks/local/query.ts'
export { queryWarehouse } from '../../sinks/local/query-client.ts'
export { exportResult } from '../../sinks/local/export.ts'
