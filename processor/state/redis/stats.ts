/** Running totals of one connection; telemetry reads them. Times are sums, so that a rate is a difference. */
export interface RedisStats {
  /** 1 while Redis answers, 0 while it is away. */
  connected: number
  readCalls: number
  keysRead: number
  keysFound: number
  bytesRead: number
  readMs: number
  applyCalls: number
  entriesWritten: number
  entriesDeleted: number
  segmentsDropped: number
  applyMs: number
  scanCalls: number
  bytesSent: number
  /** Times that a server did not have a script. */
  scriptsLoaded: number
  /** Answers that proved that the state is not ours any more. */
  lost: number
  unavailable: number
}

export function newStats(): RedisStats {
  return {
    connected: 0,
    readCalls: 0,
    keysRead: 0,
    keysFound: 0,
    bytesRead: 0,
    readMs: 0,
    applyCalls: 0,
    entriesWritten: 0,
    entriesDeleted: 0,
    segmentsDropped: 0,
    applyMs: 0,
    scanCalls: 0,
    bytesSent: 0,
    scriptsLoaded: 0,
    lost: 0,
    unavailable: 0,
  }
}
