// A fixed loop, each time a line comes in: how long it took, in milliseconds.
process.stdin.on('data', () => {
  const began = performance.now()
  let x = 0
  for (let i = 0; i < 6e7; i++) x = (x + i * 7) | 0
  process.stdout.write(`${performance.now() - began} ${x}\n`)
})
