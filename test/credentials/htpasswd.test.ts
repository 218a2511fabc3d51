import { renameSync, rmSync, mkdirSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hash as bcrypt } from '@node-rs/bcrypt'
import t, { type Test } from 'tap'
import { openHtpasswd } from '../../src/credentials/htpasswd.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { defaults } from '../login/config-of.ts'

const hasher = createPasswordHasher(defaults.passwords)
const password = 'myPassword'
const sha = '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE='
const apr1 = '$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/'

/** Files here are settled when they are looked at, unless a test says otherwise. */
function start (t: Test, text: string, roles: string[] = [], now = () => Date.now() + 60_000) {
  const file = join(t.testdir({}), 'users.htpasswd')
  writeFileSync(file, text)
  const warnings: string[] = []
  const source = openHtpasswd({ file, roles, hasher, warn: (message) => { warnings.push(message) }, now })
  return { file, source, warnings, outcome: async (username: string, typed = password) => (await source.check({ username, password: typed })).outcome }
}

t.test('users with hashes of each kind that Apache makes', async (t) => {
  const bcrypted = (await bcrypt(password, { cost: 4 })).replace(/^\$2b/, '$2y')
  const { source, outcome, warnings } = start(t, `# staff\nbea:${bcrypted}\r\n\nann:${apr1}\nsue:${sha}\n`, ['staff'])
  for (const name of ['bea', 'ann', 'sue']) {
    t.match(await source.check({ username: name, password }), { outcome: 'accepted', subject: { id: `htpasswd:${name}`, name, roles: ['staff'], scopes: [], attributes: {}, credentialTag: /^[\w-]{43}$/ } })
    t.equal(await outcome(name, 'wrong'), 'refused')
    t.equal(await outcome(name.toUpperCase()), 'accepted', 'names are one in any case')
  }
  t.equal(await outcome('nobody'), 'unknown')
  t.equal(await outcome('# staff'), 'unknown')
  t.strictSame(warnings, [])
})

t.test('lines that are not taken are told of by their number, and never shown', async (t) => {
  const { outcome, warnings } = start(t, `plain:secret-text\ncrypt:rqXexS6ZhobKA\nsue:${sha}\nSUE:${apr1}\nno colon\n:${sha}\nsix:$6$salt$hash\n`)
  t.strictSame(warnings.map((warning) => /: line (\d+) is passed over/.exec(warning)?.[1]), ['1', '2', '4', '5', '6', '7'])
  t.notMatch(warnings.join('\n'), /secret-text|rqXexS6ZhobKA|VBPuJH/)
  t.equal(await outcome('plain', 'secret-text'), 'unknown')
  t.equal(await outcome('sue'), 'accepted', 'the first of two of one name')
})

t.test('is read again when it has changed', async (t) => {
  const { file, source, outcome } = start(t, `sue:${sha}\n`)
  t.equal(await outcome('ann'), 'unknown')
  writeFileSync(file, `sue:${sha}\nann:${apr1}\n`)
  t.equal(await outcome('ann'), 'accepted')
  writeFileSync(`${file}.new`, `ann:${apr1}\n`)
  renameSync(`${file}.new`, file)
  t.equal(await outcome('sue'), 'unknown')
  t.equal(await source.find('htpasswd:sue'), null, 'who was removed does not refresh any more')
  t.match(await source.find('htpasswd:ann'), { name: 'ann' })
  writeFileSync(file, `sue:${sha}\n`)
  t.equal(await outcome('sue'), 'accepted')
  t.equal(await outcome('ann'), 'unknown')
})

t.test('a file that is just being written into loses nobody, until it has settled', async (t) => {
  const clock = { ahead: 0 }
  const { file, source, outcome, warnings } = start(t, `sue:${sha}\nann:${apr1}\n`, [], () => Date.now() + clock.ahead)
  for (const part of ['', 'sue:{SHA}VBP', `sue:${sha}\n`]) {
    writeFileSync(file, part)
    t.match(await source.find('htpasswd:ann'), { name: 'ann' })
    t.equal(await outcome('sue'), 'accepted')
  }
  t.strictSame(warnings, [], 'nor is there anything to say yet')
  clock.ahead = 1_000
  t.equal(await source.find('htpasswd:ann'), null, 'then what it lost is lost')
  t.equal(await outcome('sue'), 'accepted')
})

t.test('a file that only grew, one that was put in place as a whole, and one from the future are taken at once', async (t) => {
  const { file, outcome } = start(t, `sue:${sha}\n`, [], Date.now)
  writeFileSync(file, `sue:${sha}\nann:${apr1}\n`)
  t.equal(await outcome('ann'), 'accepted')
  writeFileSync(`${file}.new`, `ann:${apr1}\n`)
  renameSync(`${file}.new`, file)
  t.equal(await outcome('sue'), 'unknown')
  writeFileSync(file, `bea:${apr1}\n`)
  utimesSync(file, new Date(Date.now() + 86_400_000), new Date(Date.now() + 86_400_000))
  t.equal(await outcome('ann'), 'unknown')
})

t.test('a changed file of the same length is noticed', async (t) => {
  const { file, outcome } = start(t, `sue:${sha}\n`)
  for (const name of ['ann', 'bea', 'eve', 'sue']) {
    writeFileSync(file, `${name}:${sha}\n`)
    t.equal(await outcome(name), 'accepted')
  }
})

t.test('a file that cannot be read, or is none, leaves the users as they were, and says so once', async (t) => {
  const { file, outcome, warnings } = start(t, `sue:${sha}\n`)
  const breaks: [what: string, harm: () => void][] = [
    ['removed', () => { unlinkSync(file) }],
    ['a folder', () => { mkdirSync(file) }],
    ['no htpasswd file', () => { rmSync(file, { recursive: true }); writeFileSync(file, '{"users": []}\n') }],
  ]
  for (const [what, harm] of breaks) {
    warnings.length = 0
    harm()
    for (let turn = 0; turn < 3; turn++) t.equal(await outcome('sue'), 'accepted', what)
    t.equal(warnings.filter((warning) => warning.endsWith('the users before stay as they were')).length, 1, what)
  }
  writeFileSync(file, `ann:${apr1}\n`)
  t.equal(await outcome('sue'), 'unknown', 'and is taken when it is one again')
  writeFileSync(file, '')
  t.equal(await outcome('ann'), 'unknown', 'an empty file has no users')
})

t.test('a start without the file is one clear line', async (t) => {
  t.throws(() => openHtpasswd({ file: '/does/not/exist', roles: [], hasher, warn: () => {}, now: () => 1 }), { name: 'StartupFault', message: /^the htpasswd file cannot be read: \/does\/not\/exist/ })
})

t.test('the names of objects are names like others', async (t) => {
  const { outcome, source } = start(t, `sue:${sha}\n`)
  for (const name of ['__proto__', 'constructor', 'toString']) t.equal(await outcome(name), 'unknown')
  t.equal(await source.find('htpasswd:__proto__'), null)
})
