/**
 * Fault: KafkaJS reads a batch's checksum and never compares it, so that bytes damaged on a disk or on the
 * way become records.
 * Where: kafkajs/src/protocol/recordBatch/v0/decoder.js ("The library is currently not performing CRC
 * validations").
 * Mended here: every batch that is walked over is checked, control and aborted ones too, since they decide
 * what becomes of the others. The checksum covers attributes and records, not the base offset and length
 * before it: those are checked against their neighbours by who walks.
 */
import { crc32c } from '../record-batch/crc32c.ts'
import { RecordBatchError, type BatchPlace } from '../record-batch/errors.ts'
import { ATTRIBUTES, CRC } from '../record-batch/layout.ts'

/** @throws RecordBatchError when the batch from `start` to before `end` is not what was written */
export function checkCrc(bytes: Buffer, start: number, end: number, at: BatchPlace): void {
  const computed = crc32c(bytes, start + ATTRIBUTES, end)
  const stored = bytes.readUInt32BE(start + CRC)
  if (computed === stored) return
  throw new RecordBatchError(at, `the batch's CRC32C is ${hex(computed)} and should be ${hex(stored)}`)
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}
