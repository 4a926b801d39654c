import { counted, formatCount } from '../output/format.ts'
import type { Progress } from './progress.ts'
import { amountOf, perSecond, shareOf, timeLeft, timeOf } from './words.ts'

/** The progress as one line, for a pipe or a file. */
export function lineOf({ bridge, process, sink, lag, watermarkMs, left }: Progress): string {
  return [
    ...(left === null
      ? []
      : [[shareOf(left), `(${amountOf(left)})`, timeLeft(left)].filter((word) => word !== null).join(' ')]),
    ...(bridge === null
      ? []
      : [
          `${counted(bridge.read, 'record')} read (${perSecond(bridge.readPerSecond)}, ${formatCount(bridge.invalid)} invalid)`,
        ]),
    ...(process === null
      ? []
      : [
          `${formatCount(process.processed)} processed (${perSecond(process.processedPerSecond)}, ${formatCount(process.late)} late)`,
          `${counted(process.closed, 'window')} closed`,
          ...(process.restoring > 0 ? [`${counted(process.restoring, 'task')} restoring`] : []),
        ]),
    `${formatCount(lag)} waiting`,
    ...(sink === null ? [] : [`${counted(sink.rows, 'row')} written (${perSecond(sink.rowsPerSecond)})`]),
    ...(watermarkMs === null ? [] : [`watermark ${timeOf(watermarkMs)}`]),
  ].join(', ')
}
