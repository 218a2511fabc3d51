import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { open, openMasterKey, seal } from '../../src/tokens/master-key.ts'
import { processFile } from '../helpers/process-file.ts'

const good = Buffer.alloc(32, 7).toString('base64url')

await t.test('takes the configured key, and makes no file then', async (t) => {
  const path = join(t.testdir(), 'master.key')
  const { masterKey, created, warning } = openMasterKey({ configured: good, fileBesideData: path })
  t.equal(created, null)
  t.equal(warning, null)
  t.notOk(existsSync(path))
  t.match(masterKey.source, 'GATEWARDEN_MASTER_KEY')
})

await t.test('derives by HKDF-SHA256: another key for each purpose, the same one each time', async (t) => {
  const { masterKey } = openMasterKey({ configured: good, fileBesideData: null })
  const again = openMasterKey({ configured: `${good}=\n`, fileBesideData: null }).masterKey
  t.strictSame(masterKey.derive('one'), again.derive('one'))
  t.notSame(masterKey.derive('one'), masterKey.derive('two'))
  t.equal(masterKey.derive('one').length, 32)
  t.equal(masterKey.derive('one', 64).length, 64)
  const other = openMasterKey({ configured: Buffer.alloc(32, 8).toString('base64url'), fileBesideData: null }).masterKey
  t.notSame(masterKey.derive('one'), other.derive('one'))
})

await t.test('makes a file of mode 0600 at the first start, and uses it at the next', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'master.key')
  const first = openMasterKey({ configured: undefined, fileBesideData: path })
  t.equal(first.created, path)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(readFileSync(path, 'utf8'), /^[\w-]{43}\n$/)
  const second = openMasterKey({ configured: undefined, fileBesideData: path })
  t.equal(second.created, null)
  t.strictSame(second.masterKey.derive('x'), first.masterKey.derive('x'))
  t.strictSame(readdirSync(folder), ['master.key'], 'no draft is left behind')
})

await t.test('removes what a process left behind that died while it made the key, and nothing else', async (t) => {
  const draft = 'master.key.4711.0123456789ab'
  const folder = t.testdir({ [draft]: `${good}\n`, 'master.key.old': '', 'other.key.4711.0123456789ab': '' })
  const open = () => openMasterKey({ configured: undefined, fileBesideData: join(folder, 'master.key') })
  const left = ['master.key', 'master.key.old', 'other.key.4711.0123456789ab']
  t.notSame(open().masterKey.derive('x'), openMasterKey({ configured: good, fileBesideData: null }).masterKey.derive('x'))
  t.strictSame(readdirSync(folder), left, 'it died before its draft was in place')
  writeFileSync(join(folder, draft), readFileSync(join(folder, 'master.key')), { mode: 0o600 })
  open()
  t.strictSame(readdirSync(folder), left, 'or after that')
})

await t.test('processes that start at once end up with one key', async (t) => {
  const path = join(t.testdir(), 'master.key')
  // All wait for one moment, so that they meet in the same millisecond.
  const moment = String(Date.now() + 1_500)
  const runs = await Promise.all(Array.from({ length: 4 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [processFile('tokens/master-key.process'), path, moment])
    return JSON.parse(stdout) as { key: string, created: string | null }
  }))
  t.equal(new Set(runs.map(({ key }) => key)).size, 1)
  t.equal(runs.filter(({ created }) => created !== null).length, 1, 'one of them made it')
})

await t.test('refuses a key of the wrong form, and says what would be right', async (t) => {
  const path = join(t.testdir(), 'master.key')
  const bad = ['', 'short', 'x'.repeat(43), good.slice(1), `${good}A`, `${good} ${good}`, Buffer.alloc(31).toString('base64url'), Buffer.alloc(33).toString('base64url'), Buffer.alloc(32, 0xff).toString('base64'), 'é'.repeat(43), Buffer.alloc(32).toString('hex')]
  for (const configured of bad) {
    if (configured === 'x'.repeat(43)) continue // by chance it is 32 bytes, but for its spare bits; see below
    t.throws(() => openMasterKey({ configured, fileBesideData: null }), { name: 'StartupFault', message: /keys\.masterKey \(GATEWARDEN_MASTER_KEY\).*32 bytes in base64url.*make one with/ }, configured)
    writeFileSync(path, configured, { mode: 0o600 })
    t.throws(() => openMasterKey({ configured: undefined, fileBesideData: path }), { name: 'StartupFault', message: path })
  }
  t.throws(() => openMasterKey({ configured: 'x'.repeat(43), fileBesideData: null }), { name: 'StartupFault' }, 'bits behind the last byte: garbled')
  writeFileSync(path, 'x'.repeat(2_000), { mode: 0o600 })
  t.throws(() => openMasterKey({ configured: undefined, fileBesideData: path }), { name: 'StartupFault', message: /2000 bytes/ })
})

await t.test('never says a key in what it complains of', async (t) => {
  const secret = randomBytes(40).toString('base64url')
  try {
    openMasterKey({ configured: secret, fileBesideData: null })
    t.fail('accepted')
  } catch (error) {
    t.notMatch(String(error) + JSON.stringify(error), secret.slice(0, 8))
  }
})

await t.test('refuses a file that everybody may read, warns of one that the group may', async (t) => {
  const path = join(t.testdir({ 'master.key': good }), 'master.key')
  for (const mode of [0o604, 0o644, 0o666, 0o602]) {
    chmodSync(path, mode)
    t.throws(() => openMasterKey({ configured: undefined, fileBesideData: path }), { name: 'StartupFault', message: /chmod 600/ })
  }
  chmodSync(path, 0o640)
  t.match(openMasterKey({ configured: undefined, fileBesideData: path }).warning, /mode 0640/)
  chmodSync(path, 0o400)
  t.equal(openMasterKey({ configured: undefined, fileBesideData: path }).warning, null)
})

await t.test('says what to do where there is no place for a key', async (t) => {
  t.throws(() => openMasterKey({ configured: undefined, fileBesideData: null }), { name: 'StartupFault', message: /set keys\.masterKey or GATEWARDEN_MASTER_KEY/ })
  t.throws(() => openMasterKey({ configured: undefined, fileBesideData: join(t.testdir(), 'absent', 'master.key') }), { name: 'StartupFault', message: /ENOENT/ })
  t.throws(() => openMasterKey({ configured: undefined, fileBesideData: t.testdir({ folder: {} }) }), { name: 'StartupFault' })
})

await t.test('opens what it sealed, and nothing else', async (t) => {
  const key = randomBytes(32)
  const sealed = seal(key, 'the plaintext', 'name')
  t.equal(open(key, sealed, 'name'), 'the plaintext')
  t.not(seal(key, 'the plaintext', 'name'), sealed, 'a nonce of its own each time')
  t.notMatch(sealed, 'plaintext')
  t.equal(open(randomBytes(32), sealed, 'name'), null)
  t.equal(open(key, sealed, 'other'), null)
  const bytes = Buffer.from(sealed, 'base64url')
  for (let place = 0; place < bytes.length; place++) {
    const changed = Buffer.from(bytes)
    changed[place] = (changed[place] ?? 0) ^ 1
    t.equal(open(key, changed.toString('base64url'), 'name'), null)
  }
  for (const length of [0, 1, 12, 27, 28, bytes.length - 1]) t.equal(open(key, bytes.subarray(0, length).toString('base64url'), 'name'), null)
})
