/** What is used of KafkaJS 2.2.4 beneath its public interface. The package has no `exports`, so that it can be reached. */

declare module 'kafkajs/src/network/connection.js' {
  import type { Socket } from 'node:net'

  interface SilentLogger {
    namespace(name: string): SilentLogger
    debug(): void
    info(): void
    warn(): void
    error(): void
  }

  class Connection {
    constructor(options: {
      host: string
      port: number
      logger: SilentLogger
      socketFactory: (options: {
        host: string
        port: number
        ssl: object | null
        onConnect: () => void
      }) => Socket
      requestTimeout: number
      connectionTimeout: number
      enforceRequestTimeout: boolean
      ssl: object | null
      sasl: object | null
      clientId: string
    })
    socket?: Socket
    connect(): Promise<unknown>
    disconnect(): Promise<unknown>
    authenticate(): Promise<void>
    isConnected(): boolean
    isAuthenticated(): boolean
    /** @throws KafkaJSConnectionError */
    failIfNotConnected(): void
    setVersions(versions: Record<number, { minVersion: number; maxVersion: number }>): void
    setSupportAuthenticationProtocol(isSupported: boolean): void
    processData(chunk: Buffer): void
    rejectRequests(error: Error): void
    send(request: object): Promise<unknown>
  }
  export = Connection
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  class RequestQueue {
    constructor(options: object)
    pending: unknown[]
    throttledUntil: number
    throttleCheckTimeoutId: NodeJS.Timeout | null
    checkPendingRequests(): void
    scheduleCheckPendingRequests(): void
    destroy(): void
  }
  export = RequestQueue
}

declare module 'kafkajs/src/protocol/requests/index.js' {
  interface Protocol {
    request: {
      apiKey: number
      apiVersion: number
      apiName: string
      encode: () => Promise<{ buf: Buffer; buffer: Buffer }>
    }
    response: { decode: (payload: Buffer) => Promise<object>; parse: (decoded: object) => Promise<object> }
  }
  interface Definition {
    versions: string[]
    protocol(options: { version: number }): (...options: object[]) => Protocol
  }
  export const requests: Record<
    | 'ApiVersions'
    | 'CreateTopics'
    | 'DeleteTopics'
    | 'DescribeConfigs'
    | 'GroupCoordinator'
    | 'Heartbeat'
    | 'JoinGroup'
    | 'LeaveGroup'
    | 'OffsetCommit'
    | 'SyncGroup',
    Definition
  >
}

declare module 'kafkajs/src/protocol/error.js' {
  export const errorCodes: { type: string; code: number; retriable: boolean; message: string }[]
}

declare module 'kafkajs/src/consumer/assignerProtocol.js' {
  export const MemberMetadata: {
    encode(metadata: { version: number; topics: string[]; userData: Buffer }): Buffer
    decode(buffer: Buffer): { version: number; topics: string[]; userData: Buffer }
  }
  export const MemberAssignment: {
    encode(assignment: { version: number; assignment: Record<string, number[]>; userData: Buffer }): Buffer
    decode(buffer: Buffer): { version: number; assignment: Record<string, number[]>; userData: Buffer } | null
  }
}
