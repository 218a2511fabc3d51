import t from 'tap'
import { createRefreshTokens, hashOf } from '../../src/sessions/refresh-token.ts'

const key = Buffer.alloc(32, 1)
const tokens = createRefreshTokens(key)

t.test('what was made is read back as it was', async (t) => {
  const token = tokens.first()
  t.match(token.text, /^gwr_[A-Za-z0-9_-]{91}$/)
  t.match(token.sessionId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.equal(token.secret.length, 32)
  t.strictSame(tokens.read(token.text), token)
})

t.test('first tokens have nothing in common', async (t) => {
  const many = Array.from({ length: 200 }, () => tokens.first())
  t.equal(new Set(many.map(({ sessionId }) => sessionId)).size, 200)
  t.equal(new Set(many.map(({ secret }) => secret.toString('hex'))).size, 200)
})

t.test('a successor is the same each time, of the same session and the next generation, with another secret', async (t) => {
  const token = tokens.first()
  const next = tokens.successor(token)
  t.strictSame(tokens.successor(token), next)
  t.equal(next.sessionId, token.sessionId)
  t.equal(next.generation, 1)
  t.notSame(next.secret, token.secret)
  t.equal(tokens.successor(next).generation, 2)
  t.strictSame(tokens.read(next.text), next)
})

t.test('who has the token but not the key finds another successor', async (t) => {
  const token = tokens.first()
  t.not(createRefreshTokens(Buffer.alloc(32, 2)).successor(token).text, tokens.successor(token).text)
})

t.test('a token of another key is none', async (t) => {
  t.equal(createRefreshTokens(Buffer.alloc(32, 2)).read(tokens.first().text), null)
})

t.test('each altered bit makes it none', async (t) => {
  const { text } = tokens.first()
  const bytes = Buffer.from(text.slice(4), 'base64url')
  const read = Array.from({ length: bytes.length * 8 }, (_, bit) => {
    const altered = Buffer.from(bytes)
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return tokens.read(`gwr_${altered.toString('base64url')}`)
  })
  t.equal(read.length, 544)
  t.ok(read.every((token) => token === null))
})

t.test('a token has one spelling', async (t) => {
  // 68 bytes leave two stray bits in the last character.
  const { text } = tokens.first()
  const spellings = [
    '', 'gwr_', `${text}=`, `${text}==`, ` ${text}`, `${text} `, `${text}\n`, text.slice(0, -1), `${text}A`, text.slice(4), text.toUpperCase(),
    text.replace('gwr_', 'GWR_'), text.replace('gwr_', 'gwr-'), `${text.slice(0, -1)}\0`, `${text.slice(0, 50)}.${text.slice(51)}`,
    `gwr_${Buffer.from(text.slice(4), 'base64url').toString('base64')}`, `${text}${text}`, 'gwr_'.padEnd(95, 'é'), 'gwr_'.padEnd(1_000_000, 'A'),
  ]
  // Where a spelling happens to be the token itself, it shows nothing.
  t.strictSame(spellings.filter((spelling) => spelling !== text && tokens.read(spelling) !== null), [])
  const last = text.at(-1) ?? ''
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  t.strictSame([...alphabet].filter((letter) => letter !== last && tokens.read(text.slice(0, -1) + letter) !== null), [])
})

t.test('the hash is that of the whole text, and of no part', async (t) => {
  const token = tokens.first()
  t.match(hashOf(token), /^[A-Za-z0-9_-]{43}$/)
  t.not(hashOf(token), hashOf(tokens.successor(token)))
  t.notOk(hashOf(token).includes(token.text.slice(10, 30)))
})
