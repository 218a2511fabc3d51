/** For `node --import`: to the first of several processes a minute is over at once. */
import cluster from 'node:cluster'

if (cluster.isPrimary) {
  const { setTimeout } = globalThis
  globalThis.setTimeout = (callback, milliseconds, ...rest) => setTimeout(callback, milliseconds < 60_000 ? milliseconds : 0, ...rest)
}
