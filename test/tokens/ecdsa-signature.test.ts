import { createECDH } from 'node:crypto'
import t from 'tap'
import { ecdsaFault, withLowerS } from '../../src/tokens/ecdsa-signature.ts'

const curves = [
  ['ES256', 'prime256v1', 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'],
  ['ES384', 'secp384r1', 'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973'],
  ['ES512', 'secp521r1', `01${'ff'.repeat(32)}fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409`],
] as const

for (const [algorithm, curve, hex] of curves) {
  const order = BigInt(`0x${hex}`)
  const bytes = (number: bigint): Buffer => Buffer.from(number.toString(16).padStart(hex.length, '0'), 'hex')
  const signature = (r: bigint, s: bigint): Buffer => Buffer.concat([bytes(r), bytes(s)])

  await t.test(`${algorithm}: the order is that of the curve, by OpenSSL's own arithmetic`, async (t) => {
    const x = (scalar: bigint): string => {
      const point = createECDH(curve)
      point.setPrivateKey(bytes(scalar))
      return point.getPublicKey('hex', 'compressed').slice(2)
    }
    // (n − 1)·G is −G: the same x.
    t.equal(x(order - 1n), x(1n))
  })

  await t.test(`${algorithm}: r and s must be from 1 to n − 1`, async (t) => {
    for (const spellings of ['lower-s', 'any-s'] as const) {
      for (const bad of [0n, order, order + 1n]) {
        t.equal(ecdsaFault(signature(bad, 1n), algorithm, spellings), 'signature out of range')
        t.equal(ecdsaFault(signature(1n, bad), algorithm, spellings), 'signature out of range')
      }
      t.equal(ecdsaFault(signature(1n, 1n), algorithm, spellings), null)
      t.equal(ecdsaFault(signature(order - 1n, order / 2n), algorithm, spellings), null)
    }
    t.equal(ecdsaFault(signature(1n, order / 2n + 1n), algorithm, 'lower-s'), 'signature in its other spelling')
    t.equal(ecdsaFault(signature(1n, order / 2n + 1n), algorithm, 'any-s'), null)
  })

  await t.test(`${algorithm}: writes the lower s, and leaves it where it is lower already`, async (t) => {
    const token = (s: bigint): string => `h.p.${signature(5n, s).toString('base64url')}`
    t.equal(withLowerS(token(7n), algorithm), token(7n))
    t.equal(withLowerS(token(order - 7n), algorithm), token(7n))
    t.equal(withLowerS(token(order / 2n + 1n), algorithm), token(order / 2n))
  })
}

await t.test('leaves the signatures of other algorithms alone', async (t) => {
  t.equal(ecdsaFault(Buffer.alloc(64), 'EdDSA', 'lower-s'), null)
  t.equal(withLowerS('h.p.__________8', 'RS256'), 'h.p.__________8')
})
