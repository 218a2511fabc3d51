import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import type { AsymmetricAlgorithm } from '../../src/tokens/algorithms.ts'
import { openKeyDirectory } from '../../src/tokens/key-directory.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { audience, issuer, someTime } from '../helpers/tokens.ts'

const ec = (curve = 'P-256'): { privateKey: KeyObject, publicKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: curve })
const pem = (key: KeyObject): string => String(key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }))
const kidOf = async (key: KeyObject): Promise<string> => await calculateJwkThumbprint(key.export({ format: 'jwk' }))

await t.test('the last name signs, all verify', async (t) => {
  const [one, two] = [ec(), ec()]
  const ring = await openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({ '2024-01.pem': pem(one.privateKey), '2024-02.pem': pem(two.privateKey) }) })
  const [first, last] = [await kidOf(one.publicKey), await kidOf(two.publicKey)]
  t.equal(ring.signingKey().kid, last)
  t.equal(ring.verifyingKey(first)?.kid, first)
  t.equal(ring.verifyingKey(last)?.kid, last)
  t.equal(ring.verifyingKey('other'), undefined)
  t.strictSame(ring.publicKeys().map(({ kid }) => kid), [last, first])
  t.strictSame(ring.list().map(({ kid, state }) => [kid, state]).sort(), [[first, 'retired'], [last, 'signing']].sort())
  t.equal(ring.signingKey(), ring.signingKey())
})

await t.test('signs and verifies with a key of each algorithm that has a pair', async (t) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pairs: [AsymmetricAlgorithm, { privateKey: KeyObject }][] = [
    ['ES256', ec()], ['ES384', ec('P-384')], ['ES512', ec('P-521')], ['EdDSA', generateKeyPairSync('ed25519')],
    ['RS256', rsa], ['RS384', rsa], ['RS512', rsa], ['PS256', rsa], ['PS384', rsa], ['PS512', rsa],
  ]
  for (const [algorithm, { privateKey }] of pairs) {
    const keyRing = await openKeyDirectory({ algorithm, directory: t.testdir({ 'tls.key': pem(privateKey) }) })
    const mint = createAccessTokenMint({ keyRing, issuer, audience, lifetime: 60_000, now: () => someTime })
    const verify = createVerifier({ keyRing, issuer, audience, clockTolerance: 0, now: () => someTime })
    t.equal(verify(mint({ subject: 'u', sessionId: 's', clientId: 'c', roles: [], scopes: [], claims: {} }).token).subject, 'u', algorithm)
    t.equal(keyRing.publicKeys()[0]?.alg, algorithm)
  }
})

await t.test('a public key verifies and never signs; beside its private one it is the same key', async (t) => {
  const [one, two] = [ec(), ec()]
  const ring = await openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({ 'a.key': pem(one.privateKey), 'a.pub': pem(one.publicKey), 'z.pem': pem(two.publicKey) }) })
  t.equal(ring.signingKey().kid, await kidOf(one.publicKey))
  t.equal(ring.publicKeys().length, 2)
  t.equal(ring.verifyingKey(await kidOf(two.publicKey))?.algorithm, 'ES256')
})

await t.test('reads what cert-manager writes, and never takes the key of a CA', async (t) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const certificate = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  const pkcs1 = String(rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }))
  const ring = await openKeyDirectory({ algorithm: 'RS256', directory: t.testdir({ 'tls.key': pkcs1, 'tls.crt': certificate, 'ca.crt': certificate, 'tls-combined.pem': pkcs1 + certificate, 'key.der': 'binary' }) })
  t.strictSame(ring.publicKeys().map(({ kid }) => kid), [await kidOf(rsa.publicKey)])
  const sec1 = ec()
  t.equal((await openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({ 'tls.key': String(sec1.privateKey.export({ type: 'sec1', format: 'pem' })) }) })).signingKey().kid, await kidOf(sec1.publicKey))
})

await t.test('reads a mounted Kubernetes Secret through its links, and sees each swap of it', async (t) => {
  const directory = t.testdir()
  const swap = (version: string, files: Record<string, string>): void => {
    mkdirSync(join(directory, version))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, version, name), text)
    symlinkSync(version, join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  }
  const [one, two, three] = [ec(), ec(), ec()]
  swap('..2024_01', { '1.key': pem(one.privateKey) })
  symlinkSync('..data/1.key', join(directory, '1.key'))
  const ring = await openKeyDirectory({ algorithm: 'ES256', directory })
  let changes = 0
  ring.onChange(() => changes++)
  t.equal(ring.signingKey().kid, await kidOf(one.publicKey))

  swap('..2024_02', { '1.key': pem(one.privateKey), '2.key': pem(two.privateKey) })
  symlinkSync('..data/2.key', join(directory, '2.key'))
  await ring.maintain()
  t.equal(ring.signingKey().kid, await kidOf(two.publicKey))
  t.equal(changes, 1)

  swap('..2024_03', { '2.key': pem(two.privateKey), '3.key': pem(three.privateKey) })
  rmSync(join(directory, '..2024_01'), { recursive: true })
  await ring.reload()
  t.equal(ring.signingKey().kid, await kidOf(three.publicKey))
  t.equal(ring.verifyingKey(await kidOf(one.publicKey)), undefined)
  t.equal(changes, 2)
  await ring.reload()
  t.equal(changes, 2, 'nothing new, nobody is told')
  ring.close()
})

await t.test('keeps the keys it has when the folder turns bad', async (t) => {
  const key = ec()
  const directory = t.testdir({ 'a.pem': pem(key.privateKey) })
  const ring = await openKeyDirectory({ algorithm: 'ES256', directory })
  writeFileSync(join(directory, 'b.pem'), 'half a ke')
  await t.rejects(ring.reload(), { name: 'StartupFault', message: 'b.pem' })
  t.equal(ring.signingKey().kid, await kidOf(key.publicKey))
  unlinkSync(join(directory, 'b.pem'))
  unlinkSync(join(directory, 'a.pem'))
  await t.rejects(ring.reload(), { name: 'StartupFault', message: /holds no private key/ })
  t.equal(ring.signingKey().kid, await kidOf(key.publicKey))
})

await t.test('names the file and the fault of whatever is no usable key', async (t) => {
  const good = ec()
  const encrypted = String(good.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }))
  const faults: [string, RegExp][] = [
    ['nothing of the kind', /holds no key in PEM form/], ['', /holds no key in PEM form/], ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', /holds a PRIVATE KEY that cannot be read/],
    ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----', /holds no key in PEM form/], ['-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----', /CERTIFICATE REQUEST/], [encrypted, /encrypted with a passphrase/],
    [pem(good.privateKey) + pem(ec().privateKey), /holds 2 keys/], [pem(ec('secp256k1').privateKey), /the curve secp256k1/], [pem(generateKeyPairSync('ed448').privateKey), /type ed448/], [pem(generateKeyPairSync('x25519').privateKey), /type x25519/],
    [pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey), /RSA key of 1024 bits/], [pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey), /type rsa-pss/],
    [pem(ec('P-384').privateKey), /last private key by name, so it signs, but it is a key for ES384 and accessToken\.algorithm is ES256/], [pem(generateKeyPairSync('ed25519').privateKey), /a key for EdDSA/], [pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey), /a key for RS256/], ['x'.repeat(70_000), /^\S+b\.pem holds 70000 bytes/],
  ]
  for (const [text, message] of faults) {
    const directory = t.testdir({ 'a.pem': pem(good.privateKey), 'b.pem': text })
    await t.rejects(openKeyDirectory({ algorithm: 'ES256', directory }), { name: 'StartupFault', message })
    await t.rejects(openKeyDirectory({ algorithm: 'ES256', directory }), { message: 'b.pem' })
  }
  await t.rejects(openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({}) }), { name: 'StartupFault', message: /holds no private key/ })
  await t.rejects(openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({ 'a.pem': pem(good.publicKey) }) }), { name: 'StartupFault', message: /holds no private key/ })
  await t.rejects(openKeyDirectory({ algorithm: 'ES256', directory: join(t.testdir(), 'absent') }), { name: 'StartupFault', message: /cannot be read/ })
})

await t.test('cannot be rotated by command, and says how it is done', async (t) => {
  const ring = await openKeyDirectory({ algorithm: 'ES256', directory: t.testdir({ 'a.pem': pem(ec().privateKey) }) })
  await t.rejects(ring.rotate(), { name: 'StartupFault', message: /put a PEM file there/ })
})
