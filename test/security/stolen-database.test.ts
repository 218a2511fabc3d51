/**
 * Somebody walks away with the database: a backup, a disk, a SQL injection elsewhere. The files (the write-ahead log and
 * deleted pages are among them) must give no token that works, no way to compute one, no password, and no key to sign with.
 */
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openStorage } from '../../src/storage/open-storage.ts'
import { createRefreshTokens } from '../../src/sessions/refresh-token.ts'
import { openKeyRing } from '../../src/tokens/key-ring.ts'
import { openMasterKey } from '../../src/tokens/master-key.ts'
import { configOf } from '../login/config-of.ts'
import { password, refreshTokenKey, refusal, startSessions } from '../sessions/session-rig.ts'

t.test('a copy of the files', async (t) => {
  const folder = t.testdir({ live: {}, stolen: {} })
  const rig = await startSessions(t, async () => await openStorage(`sqlite:${folder}/live/gatewarden.db`))
  const config = configOf({})
  const masterKeyText = Buffer.alloc(32, 7).toString('base64url')
  const { masterKey } = openMasterKey({ configured: masterKeyText, fileBesideData: null })
  const keyRing = await openKeyRing({ config, db: rig.db, masterKey, now: rig.now })
  t.teardown(keyRing.close)

  const login = await rig.logIn({ address: '192.0.2.1' })
  const ended = await rig.logIn()
  await rig.sessions.endByRefreshToken(ended.refresh_token, 'logout')
  const { tokens } = await rig.refresh(login.refresh_token)
  rig.clock.time += 60_000
  const { tokens: latest } = await rig.refresh(tokens.refresh_token)
  await rig.users.add({ name: 'bob', password: 'bob has another password' })
  await rig.users.setPassword('bob', 'and changes it to this one')
  cpSync(join(folder, 'live'), join(folder, 'stolen'), { recursive: true })

  const files = readdirSync(join(folder, 'stolen'))
  const bytes = Buffer.concat(files.map((file) => readFileSync(join(folder, 'stolen', file))))

  await t.test('holds no secret in the clear', async (t) => {
    t.ok(files.includes('gatewarden.db-wal'), 'the log was copied too')
    t.ok(bytes.includes(login.session_id), 'and can be searched')
    t.ok(bytes.includes('alice'))
    const { key } = keyRing.signingKey()
    const pem = String(key)
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    const secrets: Record<string, string | Buffer> = {
      'the password of alice': password,
      'the former password of bob': 'bob has another password',
      'the password of bob': 'and changes it to this one',
      'the signing key as PEM': pem.split('\n')[1] ?? '',
      'the mark of a private key': 'PRIVATE KEY',
      'the signing key as DER': der,
      'the end of the signing key': der.subarray(-40),
      'the master key': masterKeyText,
      'the master key in bytes': Buffer.from(masterKeyText, 'base64url'),
      'the key of the refresh tokens': refreshTokenKey,
      'the mark of a token': 'gwr_',
    }
    for (const [name, text] of Object.entries({ login: login.refresh_token, ended: ended.refresh_token, used: tokens.refresh_token, latest: latest.refresh_token })) {
      const token = createRefreshTokens(refreshTokenKey).read(text)
      secrets[`the refresh token ${name}`] = text.slice(4, 40)
      secrets[`the end of the refresh token ${name}`] = text.slice(-40)
      secrets[`the secret of the refresh token ${name}`] = token?.secret ?? ''
    }
    for (const [name, text] of Object.entries({ login: login.access_token, latest: latest.access_token })) {
      secrets[`the access token ${name}`] = text.split('.')[1] ?? ''
      secrets[`the signature of the access token ${name}`] = text.split('.')[2] ?? ''
    }
    for (const [name, secret] of Object.entries(secrets)) {
      t.ok(secret.length > 3, name)
      t.notOk(bytes.includes(secret), name)
      t.notOk(bytes.includes(Buffer.from(secret).toString('base64').slice(0, -4)), `${name} in base64`)
    }
  })

  const stolen = await openStorage(`sqlite:${folder}/stolen/gatewarden.db`)
  t.teardown(async () => { await stolen.close() })
  const row = await stolen.db.selectFrom('sessions').selectAll().where('id', '=', login.session_id).executeTakeFirstOrThrow()

  await t.test('its hashes are no tokens', async (t) => {
    const id = Buffer.from(row.id.replaceAll('-', ''), 'hex')
    const generation = Buffer.alloc(4)
    generation.writeUInt32BE(row.generation)
    const hash = Buffer.from(row.token_hash, 'base64url')
    const madeUp = [
      row.token_hash,
      `gwr_${row.token_hash}`,
      `gwr_${Buffer.concat([id, generation, hash, Buffer.alloc(16)]).toString('base64url')}`,
      `gwr_${Buffer.concat([id, generation, hash, hash.subarray(0, 16)]).toString('base64url')}`,
      row.id,
    ]
    for (const token of madeUp) {
      t.equal(await refusal(rig.refresh(token)), 'GW_REFRESH_TOKEN_INVALID')
      t.equal(await rig.sessions.inspect(token), null)
    }
  })

  await t.test('a gateway with another master key does not take its tokens, nor give successors that this one takes', async (t) => {
    const thieves = rig.service({ db: stolen.db, key: Buffer.alloc(32, 9) })
    t.equal(await refusal(thieves.refresh(latest.refresh_token, { clientId: null, mayUse: () => true })), 'GW_REFRESH_TOKEN_INVALID')
    const shown = createRefreshTokens(refreshTokenKey).read(latest.refresh_token)
    if (shown === null) throw new Error('not readable')
    const guessed = createRefreshTokens(Buffer.alloc(32, 9)).successor(shown)
    t.equal(await refusal(rig.refresh(guessed.text)), 'GW_REFRESH_TOKEN_INVALID')
    t.equal((await rig.refresh(latest.refresh_token)).outcome, 'rotated')
  })

  await t.test('its signing keys do not open without the master key', async (t) => {
    const other = openMasterKey({ configured: Buffer.alloc(32, 8).toString('base64url'), fileBesideData: null })
    await t.rejects(openKeyRing({ config, db: stolen.db, masterKey: other.masterKey, now: rig.now }), { name: 'StartupFault', message: /master key/ })
  })

  await t.test('its users have argon2id hashes, each with a salt of its own', async (t) => {
    const hashes = (await stolen.db.selectFrom('users').select('password_hash').execute()).map(({ password_hash: hash }) => hash)
    t.ok(hashes.every((hash) => hash.startsWith('$argon2id$v=19$')))
    t.equal(new Set(hashes.map((hash) => hash.split('$')[4])).size, hashes.length)
  })
})
