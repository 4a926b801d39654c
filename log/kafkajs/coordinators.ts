import { type Client, MAIN_LANE } from './client.ts'
import { assertAccepted, ConnectionLost } from './errors.ts'
import { findCoordinatorRequest, type CoordinatorKind } from './kafkajs-requests.ts'
import type { KafkaRequest } from './requests/request.ts'

/** It is loading its log; it is on its way to another broker; it was there before. */
const ELSEWHERE: ReadonlySet<number> = new Set([14, 15, 16])

/** Who coordinates a group or a transactional id: asked once, and again when it has moved. */
export class Coordinators {
  readonly #client: Client
  readonly #nodes = new Map<string, number>()

  constructor(client: Client) {
    this.#client = client
  }

  /**
   * @param errorOf the answer's error code, to notice that the coordinator has moved
   * @returns the answer, with any other error in it
   * @throws PassingError, ConnectionLost
   */
  async send<Result>(
    kind: CoordinatorKind,
    key: string,
    request: KafkaRequest<Result>,
    errorOf: (result: Result) => number,
    { lane = MAIN_LANE, waitMs = 0 }: { lane?: string; waitMs?: number } = {},
  ): Promise<Result> {
    const nodeId = await this.#find(kind, key)
    let result: Result
    try {
      result = await this.#client.send(nodeId, lane, request, waitMs)
    } catch (error) {
      if (error instanceof ConnectionLost) this.#nodes.delete(`${kind} ${key}`)
      throw error
    }
    const errorCode = errorOf(result)
    if (!ELSEWHERE.has(errorCode)) return result
    this.#nodes.delete(`${kind} ${key}`)
    assertAccepted(errorCode, `The coordinator of ${kind} ${key}`)
    return result
  }

  async #find(kind: CoordinatorKind, key: string): Promise<number> {
    const known = this.#nodes.get(`${kind} ${key}`)
    if (known !== undefined) return known
    const found = await this.#client.sendToAny(findCoordinatorRequest(kind, key))
    assertAccepted(found.errorCode, `Finding the coordinator of ${kind} ${key}`)
    // It may have another address by now.
    await this.#client.metadata([])
    this.#nodes.set(`${kind} ${key}`, found.nodeId)
    return found.nodeId
  }
}
