/** Of a list of figures. */
export function percentile (values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/**
 * Mann–Whitney U as the chance that a random value of `a` is greater than one of `b` (0.5: nothing to tell), and z, its distance
 * from that in standard deviations: beyond ±3 chance alone does not explain it. No assumption on how the times are spread.
 */
export function mannWhitney (a: readonly number[], b: readonly number[]): { readonly greater: number, readonly z: number } {
  const all = [...a.map((value) => ({ value, first: true })), ...b.map((value) => ({ value, first: false }))].sort((x, y) => x.value - y.value)
  let ranks = 0
  for (let index = 0; index < all.length;) {
    let end = index
    while (end < all.length && all[end]?.value === all[index]?.value) end++
    const rank = (index + 1 + end) / 2
    for (; index < end; index++) if (all[index]?.first === true) ranks += rank
  }
  const u = ranks - a.length * (a.length + 1) / 2
  const pairs = a.length * b.length
  return { greater: u / pairs, z: (u - pairs / 2) / Math.sqrt(pairs * (a.length + b.length + 1) / 12) }
}
