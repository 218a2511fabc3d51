import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commonPasswords } from '../../src/credentials/common-passwords.ts'
import { createNewPasswordFault } from '../../src/credentials/new-password.ts'

const faultOf = createNewPasswordFault({ minimumLength: 8, contextWords: ['login.acme.example', 'login', 'acme', 'example'] })

t.test('a password that nobody tries first may be set, whatever it is made of', async (t) => {
  for (const password of [
    'correct horse battery staple', 'xkcd horse dragon 9', 'Tr0ub4dor&3', 'zebra-mango-11', '密码密码是我的秘密', '🔑🗝🔒🔓🔐🚪🚗🏠', 'dragon lives in my cupboard', '        x        y', 'é'.repeat(4) + 'abracadabra',
    'password for the summer house', 'wv7#kd0q', '4815162342', 'bakery at the corner', 'aliceblue-carpet-37', 'acme is where I work since 97',
  ]) t.equal(await faultOf(password, 'alice'), null, password)
})

t.test('what everybody tries first may not, in any dress', async (t) => {
  for (const password of [
    'password', 'Password', 'PASSWORD', 'ｐａｓｓｗｏｒｄ', 'Password1', 'Password123!', 'password2024', '123password', '!!password!!', 'P@ssw0rd', 'p@$$w0rd1', 'Passw0rd2024', 'welcome1', 'Welcome2023!', 'iloveyou', 'iloveyou2', 'sunshine99',
    'Football!', 'administrator', 'changeme', 'Changeme1!', 'letmein1', 'letmein!!', 'trustno1', 'princess123', 'qwerty123', 'dragon123456', 'monkey87654321', 'superman', 'starwars', 'whatever1', 'Liverpool1', 'Sommer2024!',
  ]) t.match(await faultOf(password, 'alice'), /everybody tries first|row of the alphabet/, password)
})

t.test('no rows and no repetitions', async (t) => {
  for (const password of ['12345678', '123456789', '87654321', '09876543', '90123456', 'abcdefgh', 'zyxwvuts', 'qwertyui', 'asdfghjk', 'poiuytre', 'aaaaaaaa', '🔑🔑🔑🔑🔑🔑🔑🔑', 'abababab', 'xyzxyzxyz', 'abcdabcdabcd', '        ', 'ÄÄÄÄÄÄÄÄ', '1qaz2wsx', 'q'.repeat(1024)]) {
    t.match(await faultOf(password, 'alice'), /again and again|everybody/, password)
  }
})

t.test('neither the own name nor that of the service, with little beside it', async (t) => {
  for (const [password, name, fault] of [
    ['alice2024', 'alice', /own name/], ['xxAlicexx', 'ALICE', /own name/], ['alicealice', 'alice', /own name/], ['Wonderland!', 'alice.wonderland@example.org', /own name/], ['alice@example.org', 'alice@example.org', /own name/],
    ['acme2024', 'bob', /name of this service/], ['Acme!!12', 'bob', /service/], ['login.acme.example', 'bob', /service/],
  ] as const) t.match(await faultOf(password, name), fault, password)
  t.equal(await faultOf('boblikesfish', 'bob'), null, 'three letters are found anywhere')
  t.equal(await faultOf('walking with alice', 'alice'), null)
})

t.test('length is counted in characters, and measured in bytes as typed and as kept', async (t) => {
  t.match(await faultOf('wv7#kd0', 'alice'), /at least 8 characters \(passwords\.minimumLength\)/)
  t.match(await faultOf('e\u0301'.repeat(7), 'alice'), /at least 8/, 'composed before it is counted')
  t.match(await faultOf(`wv7#${'k'.repeat(1020)}x`, 'alice'), /at most 1024 bytes/)
  t.match(await faultOf(`w7${'e\u0301'.repeat(341)}`, 'alice'), /at most 1024 bytes/, 'too long as it is typed, though not once it is composed')
  t.match(await faultOf(`w7${'\u0958'.repeat(200)}`, 'alice'), /at most 1024 bytes/, 'too long once it is in its normal form')
  t.match(await faultOf('with\0a nul', 'alice'), /no NUL/)
})

t.test('a list of the operator is heeded, whatever the case, line ends and length of it', async (t) => {
  const file = join(t.testdir({}), 'list.txt')
  writeFileSync(file, `first entry\r\n\n#hash first\nSchützenfest-Lippstadt\n${'filler line\n'.repeat(10_000)}last entry`)
  const listed = createNewPasswordFault({ minimumLength: 8, blockListFile: file })
  for (const password of ['first entry', 'FIRST entry', '#hash first', 'schützenfest-lippstadt', 'Schu\u0308tzenfest-Lippstadt', 'last entry']) t.match(await listed(password, 'alice'), /passwords\.blockList/, password)
  t.equal(await listed('entry of nobody', 'alice'), null)
  await t.rejects(createNewPasswordFault({ minimumLength: 8, blockListFile: `${file}.gone` })('entry of nobody', 'alice'), { name: 'StartupFault', message: /passwords\.blockList cannot be read: .*list\.txt\.gone/ })
})

t.test('the words that are built in are as they are compared', async (t) => {
  t.ok(commonPasswords.size > 900)
  for (const word of commonPasswords) if (word !== word.normalize('NFKC').toLowerCase() || word.length < 4) t.fail(word)
})
