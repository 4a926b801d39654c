import { crc32c as ofWhole } from '@node-rs/crc32'

/** The unsigned CRC32C (Castagnoli) of `bytes` from `start` to before `end`. */
export function crc32c(bytes: Buffer, start = 0, end = bytes.length): number {
  return ofWhole(bytes.subarray(start, end))
}
