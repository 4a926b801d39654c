/**
 * Fault: KafkaJS reads a response as pieces of 64 KiB, each in memory of its own, and then copies them together; while
 * it is short of one byte it holds twice the response.
 * Where: kafkajs/src/network/connection.js (`processData`).
 * Mended here: a response's first bytes say how long it is; from then on the socket reads straight into the one buffer
 * that is handed over. Lengths that cannot be are refused before anything is made for them.
 */

/** Small responses are read together, as many as fit. */
const SCRATCH_BYTES = 64 * 1024
const LENGTH_BYTES = 4
const CORRELATION_BYTES = 4
/** Far more than any fetch asks for. */
const MAX_FRAME_BYTES = 512 * 1024 * 1024

export class ResponseFrames {
  readonly #onFrame: (frame: Buffer) => void
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  /** Bytes of a frame's beginning in `#scratch`. */
  #held = 0
  /** One that does not lie whole in the scratch, and how much of it is there. */
  #frame: Buffer | null = null
  #filled = 0

  /** @param onFrame given each response without its length: nobody else has its memory */
  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** Where the next bytes are to be read to. */
  get room(): Buffer {
    return this.#frame === null ? this.#scratch.subarray(this.#held) : this.#frame.subarray(this.#filled)
  }

  /**
   * So many bytes were read to {@link room}.
   * @throws Error where no response can be so long: the connection is of no more use
   */
  advance(bytes: number): void {
    if (this.#frame !== null) {
      this.#filled += bytes
      this.#giveWhole()
      return
    }
    const end = this.#held + bytes
    let at = 0
    while (end - at >= LENGTH_BYTES) {
      const frameBytes = this.#scratch.readInt32BE(at)
      if (frameBytes < CORRELATION_BYTES || frameBytes > MAX_FRAME_BYTES) {
        throw new Error(`a response of ${frameBytes} bytes was announced: what answers is no Kafka`)
      }
      const start = at + LENGTH_BYTES
      at = Math.min(end, start + frameBytes)
      this.#frame = Buffer.allocUnsafeSlow(frameBytes)
      this.#filled = this.#scratch.copy(this.#frame, 0, start, at)
      this.#giveWhole()
    }
    this.#scratch.copyWithin(0, at, end)
    this.#held = end - at
  }

  /** For bytes that were read elsewhere. @throws Error as {@link advance} */
  take(chunk: Buffer): void {
    for (let taken = 0; taken < chunk.length;) {
      const { room } = this
      const bytes = chunk.copy(room, 0, taken)
      taken += bytes
      this.advance(bytes)
    }
  }

  #giveWhole(): void {
    const frame = this.#frame!
    if (this.#filled < frame.length) return
    this.#frame = null
    this.#onFrame(frame)
  }
}
