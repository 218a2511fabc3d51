import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { kindOf, readHash } from '../../src/credentials/hash-kinds.ts'

interface ReferenceHash { readonly by: string, readonly password: string, readonly hash: string }

const { hashes } = JSON.parse(readFileSync(join(import.meta.dirname, 'reference-hashes.json'), 'utf8')) as { readonly hashes: readonly ReferenceHash[] }

function matches (password: string, hash: string): boolean {
  const read = readHash(hash)
  return !('fault' in read) && read.matches(password)
}

t.test('hashes made by the real thing match their password, and nothing near it', async (t) => {
  for (const { by, password, hash } of hashes) {
    t.equal(matches(password, hash), true, `${by}: ${hash}`)
    const read = readHash(hash)
    const wrongs = [`${password}x`, password.slice(0, -1), password.toUpperCase(), '']
    for (const wrong of 'fault' in read || read.cost < 5 ? wrongs : wrongs.slice(0, 1)) t.equal(matches(wrong, hash), false, `${hash}: ${JSON.stringify(wrong)}`)
  }
})

t.test('every kind is among them', async (t) => {
  t.strictSame([...new Set(hashes.map(({ hash }) => kindOf(hash)))].sort(), ['argon2d', 'argon2i', 'argon2id', 'bcrypt', 'md5-crypt', 'pbkdf2', 'scrypt', 'sha-crypt', 'sha1'])
})

t.test('a hash with any one character left out or changed does not match, and does no harm', async (t) => {
  const cheap = hashes.filter(({ hash }) => { const read = readHash(hash); return !('fault' in read) && read.cost < 2 && read.kind !== 'md5-crypt' })
  t.ok(cheap.length > 20)
  for (const { password, hash } of cheap) {
    const at = hash.length - 7
    for (const harmed of [hash.slice(0, at) + hash.slice(at + 1), hash.slice(0, at) + (hash[at] === 'e' ? 'f' : 'e') + hash.slice(at + 1), `${hash}x`, `x${hash}`, `${hash}\n`, hash.slice(0, -8)]) {
      t.equal(matches(password, harmed), false, `${hash} → ${harmed}`)
    }
  }
})

t.test('an empty or tiny key, to which every or many a password would do, is no hash', async (t) => {
  for (const hash of [
    '$pbkdf2-sha256$1000$c2FsdHNhbHQ$', '$pbkdf2-sha256$1000$c2FsdHNhbHQ$AA', 'pbkdf2_sha256$1000$salt$', 'pbkdf2_sha256$1000$salt$AAAA', 'pbkdf2:sha256:1000$salt$', 'pbkdf2:sha256:1000$salt$00',
    '$scrypt$ln=10,r=8,p=1$c2FsdA$', 'scrypt$1024$salt$8$1$', 'scrypt:1024:8:1$salt$', 'scrypt:1024:8:1$salt$00ff', '$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$', '$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$AAAAAA',
    Buffer.from('0100000001000003e8000000100102030405060708090a0b0c0d0e0f10', 'hex').toString('base64'),
    `${Buffer.from('0100000001000003e8ffffffff0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10', 'hex').toString('base64')}`,
    '$6$salt$', '$5$salt$', '$apr1$salt$', '{SHA}', '$2b$04$',
  ]) t.match(readHash(hash), { fault: /^is of no kind/ }, hash)
})

t.test('what asks for more than a check may cost is refused before it begins, in words without the hash', async (t) => {
  const key = 'A'.repeat(43)
  const aspNet = (iterations: number) => Buffer.concat([Buffer.from('0100000001', 'hex'), Buffer.from(iterations.toString(16).padStart(8, '0'), 'hex'), Buffer.from('00000010', 'hex'), Buffer.alloc(48, 7)]).toString('base64')
  const began = performance.now()
  for (const hash of [
    `$argon2id$v=19$m=1048577,t=1,p=1$${key}$${key}`, `$argon2i$v=19$m=1024,t=65,p=1$${key}$${key}`, `$argon2d$v=19$m=1024,t=1,p=17$${key}$${key}`, `$argon2id$v=19$m=1048576,t=64,p=1$${key}$${key}`,
    `$2b$17$${'a'.repeat(53)}`, `$2a$31$${'a'.repeat(53)}`, `bcrypt_sha256$$2b$20$${'a'.repeat(53)}`,
    `$scrypt$ln=30,r=8,p=1$${key}$${key}`, `$scrypt$ln=10,r=999999,p=1$${key}$${key}`, `$scrypt$ln=10,r=8,p=999999$${key}$${key}`, `$scrypt$ln=99,r=8,p=1$${key}$${key}`, `$scrypt$ln=18,r=8,p=64$${key}$${key}`,
    `scrypt$4294967296$salt$8$1$${key}=`, `scrypt:1000:8:1$salt$${'ab'.repeat(32)}`, `scrypt:1:8:1$salt$${'ab'.repeat(32)}`, `scrypt:1024:0:1$salt$${'ab'.repeat(32)}`,
    `$pbkdf2-sha512$4294967295$${key}$${key}`, `pbkdf2_sha256$9999999999$salt$${key}=`, `pbkdf2:sha1:99999999$salt$${'ab'.repeat(20)}`, `pbkdf2:sha1:0$salt$${'ab'.repeat(20)}`, `$pbkdf2$2500000$${key}$${'A'.repeat(86)}`,
    aspNet(0xffffffff), aspNet(0),
    `$6$rounds=999999999$salt$${'a'.repeat(86)}`, `$5$rounds=9999999$salt$${'a'.repeat(43)}`,
  ]) {
    const read = readHash(hash)
    t.match(read, { fault: /^(asks for more|has )/ }, hash)
    t.notMatch('fault' in read ? read.fault : '', /A{20}|a{20}|abab/)
    t.equal(matches('x', hash), false)
  }
  t.equal(kindOf(`$6$rounds=10$salt$${'a'.repeat(86)}`), null, 'crypt(3) never writes fewer than 1000 rounds')
  t.equal(kindOf('A'.repeat(100_000)), null)
  t.ok(performance.now() - began < 500)
})

t.test('what recommendations and defaults ask for is within the bounds', async (t) => {
  const key = 'A'.repeat(43)
  for (const hash of [
    // RFC 9106 §4, second recommendation; OWASP; passlib's and Django's defaults; htpasswd -B -C 14.
    `$argon2id$v=19$m=65536,t=3,p=4$${key}$${key}`, `$argon2id$v=19$m=102400,t=2,p=8$${key}$${key}`, `$scrypt$ln=17,r=8,p=1$${key}$${key}`, `$pbkdf2-sha1$1300000$${key}$${'A'.repeat(27)}`,
    `pbkdf2_sha256$1200000$salt$${key}=`, `pbkdf2:sha256:1000000$salt$${'ab'.repeat(32)}`, `$6$rounds=656000$salt$${'a'.repeat(86)}`, `$2y$14$${'a'.repeat(53)}`, `$2b$16$${'a'.repeat(53)}`,
  ]) t.notMatch(readHash(hash), { fault: String }, hash)
})
