import t from 'tap'
import { readStrictJson } from '../../src/tokens/strict-json.ts'

const read = (text: string | Buffer) => readStrictJson(Buffer.from(text))

await t.test('reads what JSON.parse reads', async (t) => {
  const texts = ['{}', '[]', '1', '-0.5e3', 'null', 'true', '""', ' {"a" : [ 1 , { "b" : "c" } ] }\n', '{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":2}]}', '{"a,b":"c:d{}[]\\"","\\\\":"\\\\"}', '{"":0}', '{"ключ":"значение","🔑":"🗝"}', '["a","a","a"]', '{"a":["b","b"],"b":"b"}', `${'['.repeat(16)}${']'.repeat(16)}`, '{"a":"\\u0000"}', '"a"', '{"a\\"":1,"a":2}', '{"a":"\\\\","b":1}']
  for (const text of texts) t.strictSame(read(text), { value: JSON.parse(text) as unknown }, text)
})

await t.test('names the rule that a text breaks', async (t) => {
  const texts: [string | Buffer, string][] = [
    ['{"a":1,"a":1}', 'a member twice'], ['{"a":1,"b":2,"\\u0061":3}', 'a member twice'], ['[[{"a":{"b":1,"b":2}}]]', 'a member twice'], ['{"a":[],"a":[]}', 'a member twice'], ['{"a":{},"b":{"a":1},"a":1}', 'a member twice'], ['{"a" :1, "a" :1}', 'a member twice'],
    ['{"\\"":1,"\\u0022":1}', 'a member twice'], ['{"__proto__":1}', 'a member named __proto__'], ['[{"x":{"__prot\\u006f__":{}}}]', 'a member named __proto__'], [`${'['.repeat(17)}${']'.repeat(17)}`, 'nested too deeply'], [`${'{"a":'.repeat(17)}1${'}'.repeat(17)}`, 'nested too deeply'],
    ['', 'not JSON'], ['{', 'not JSON'], ['{"a":1,}', 'not JSON'], ['\ufeff{}', 'not JSON'], ['{}{}', 'not JSON'], ['[NaN]', 'not JSON'], ['['.repeat(5_000_000), 'not JSON'], [Buffer.of(0x22, 0xff, 0x22), 'not UTF-8'], [Buffer.of(0x22, 0xed, 0xa0, 0x80, 0x22), 'not UTF-8'], [Buffer.of(0x22, 0xc0, 0xaf, 0x22), 'not UTF-8'],
  ]
  for (const [text, fault] of texts) t.strictSame(read(text), { fault }, String(text).slice(0, 40))
})

await t.test('agrees with JSON.parse on random texts, but for members twice', async (t) => {
  let state = 12345
  const random = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor(state / 65_536) % below
  }
  const names = ['a', 'b', '\\u0061', 'a\\"', '{', '}', '[', ',', ':', '\\\\', '']
  let twice = 0
  const value = (depth: number): { text: string, twice: boolean } => {
    const kind = depth > 4 ? 0 : random(4)
    if (kind < 2) return { text: ['1', 'null', '"}"', '"\\"{"', '"a"'][random(5)] ?? '1', twice: false }
    const items = Array.from({ length: random(4) }, () => ({ name: names[random(names.length)] ?? '', ...value(depth + 1) }))
    const inside = items.some((item) => item.twice)
    if (kind === 2) return { text: `[${items.map((item) => item.text).join(',')}]`, twice: inside }
    const read = items.map(({ name }) => JSON.parse(`"${name}"`) as string)
    return { text: `{${items.map((item) => `"${item.name}":${item.text}`).join(', ')}}`, twice: inside || new Set(read).size < read.length }
  }
  for (let round = 0; round < 5_000; round++) {
    const made = value(0)
    const result = read(made.text)
    if (made.twice) {
      twice++
      if (!('fault' in result) || result.fault !== 'a member twice') t.fail(made.text)
    } else if (!('value' in result) || JSON.stringify(result.value) !== JSON.stringify(JSON.parse(made.text))) {
      t.fail(made.text)
    }
  }
  t.ok(twice > 200 && twice < 4_800, `${twice} of 5000 had a member twice`)
})
