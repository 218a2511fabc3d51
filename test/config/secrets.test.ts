import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLoader, routes } from './load-text.ts'

const { folder, load, faults, config } = createLoader(t)
const secret = 'f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7'
const masterKey = Buffer.alloc(32, 3).toString('base64url')
const hmac = (rest: string) => `accessToken: { algorithm: HS256, ${rest} }\n${routes}`
const file = (name: string, text: string) => { writeFileSync(join(folder, name), text) }

t.test('a secret in a file beside the configuration is read from there', async (t) => {
  file('secret', secret)
  t.equal(config(hmac('secretFile: secret')).accessToken.secret, secret)
  t.equal(config(hmac(`secretFile: "${join(folder, 'secret')}"`)).accessToken.secret, secret)
  t.equal(config(hmac('secretFile: "${WHERE}"'), { WHERE: './secret' }).accessToken.secret, secret)
  t.match(config(`clients: [{ id: app, secretFile: secret }]\n${routes}`).clients, [{ id: 'app', secret }])
  t.notOk('secretFile' in config(hmac('secretFile: secret')).accessToken)
})

t.test('one line end after it is no part of it; all else is', async (t) => {
  for (const end of ['\n', '\r\n']) {
    file('secret', secret + end)
    t.equal(config(hmac('secretFile: secret')).accessToken.secret, secret)
  }
  file('secret', ` ${secret}\n\n`)
  t.equal(config(hmac('secretFile: secret')).accessToken.secret, ` ${secret}\n`)
})

t.test('a secret file that is missing, empty, a folder, or stands beside the secret itself', async (t) => {
  file('empty', '')
  file('blank', '\n')
  t.strictSame(faults(hmac('secretFile: none')), [`c:1:46 accessToken.secretFile: ${join(folder, 'none')}: there is no such file`])
  t.strictSame(faults(hmac('secretFile: empty')), [`c:1:46 accessToken.secretFile: ${join(folder, 'empty')}: the file is empty`])
  t.strictSame(faults(hmac('secretFile: blank')), [`c:1:46 accessToken.secretFile: ${join(folder, 'blank')}: the file is empty`])
  t.strictSame(faults(hmac('secretFile: .')), [`c:1:46 accessToken.secretFile: ${folder}: this is a folder`])
  t.strictSame(faults(hmac('secretFile: [a]')), ['c:1:46 accessToken.secretFile: must be the path of a file'])
  t.strictSame(faults(hmac(`secret: ${secret}, secretFile: secret`)), ['c:1:108 accessToken.secretFile: stands beside secret; give one of the two'])
})

t.test('only a secret has a file beside it', async (t) => {
  t.match(faults(`audienceFile: x\n${routes}`)[0], /^c:1:1 audienceFile: unknown key/)
})

t.test('says which files it was filled from', async (t) => {
  file('secret', secret)
  const loaded = load(hmac('secretFile: secret'))
  t.strictSame('faults' in loaded ? [] : loaded.files, [join(folder, 'config.yaml'), join(folder, 'secret')])
})

t.test('the master key comes from the file, GATEWARDEN_MASTER_KEY, or GATEWARDEN_MASTER_KEY_FILE, in this order', async (t) => {
  const [inFile, inText, inOther] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte).toString('base64url'))
  file('other', `${inOther}\n`)
  const environment = { GATEWARDEN_MASTER_KEY: inText, GATEWARDEN_MASTER_KEY_FILE: join(folder, 'other') }
  t.equal(config(`keys: { masterKey: ${inFile} }\n${routes}`, environment).keys.masterKey, inFile)
  t.equal(config(routes, environment).keys.masterKey, inText)
  t.equal(config(`keys: { rotateEvery: 1d }\n${routes}`, environment).keys.masterKey, inText)
  t.equal(config(routes, { ...environment, GATEWARDEN_MASTER_KEY: undefined }).keys.masterKey, inOther)
  t.equal(config(routes, { ...environment, GATEWARDEN_MASTER_KEY: '' }).keys.masterKey, inOther)
  t.equal(config(routes).keys.masterKey, undefined)
})

t.test('a master key that is none is a fault', async (t) => {
  const wrong = /^c:1:1 keys\.masterKey: the master key \(or GATEWARDEN_MASTER_KEY\) must be 32 bytes in base64url; make one with/
  for (const text of ['short', masterKey.slice(1), `${masterKey}A`, `${masterKey}=`, Buffer.alloc(32, 255).toString('base64'), `${masterKey.slice(0, -1)}B`, 'x'.repeat(43).replace(/x$/, '!')]) {
    const [fault, ...more] = faults(routes, { GATEWARDEN_MASTER_KEY: text })
    t.match(fault, wrong)
    t.strictSame(more, [])
  }
  t.strictSame(faults(routes, { GATEWARDEN_MASTER_KEY_FILE: '/does/not/exist' }), ['c:1:1 keys.masterKey: GATEWARDEN_MASTER_KEY_FILE: /does/not/exist: there is no such file'])
})

t.test('no fault says what a secret is, however it is wrong', async (t) => {
  const leak = 's3cr3tvalue'
  file('leak', leak)
  const wrong = [
    hmac(`secret: ${leak}`), hmac(`secret: ${leak}, secretFile: leak`), hmac('secretFile: leak'), hmac(`secret: *${leak}`), hmac(`secret: &${leak}`),
    hmac(`secret: !${leak}`), hmac(`secret: !!${leak} x`), hmac(`secret: @${leak}`), hmac(`secret: %${leak}`), hmac(`secret: "a" ${leak}`), hmac(`secret: "\\q${leak}"`),
    hmac(`secret: "${leak}`), hmac(`secret: [${leak}]`), hmac(`secret: { a: ${leak} }`), hmac(`secret: ${leak} }`), hmac(`secret: \${${leak}:}`), hmac(`secret: \${A-${leak}}`),
    `accessToken:\n  secret: |${leak}\n${routes}`, `accessToken:\n  secret: >-${leak}\n${routes}`, `accessToken: secret: ${leak}\n${routes}`, `accessToken:\n  secret ${leak}\n${routes}`,
    `accessToken:\n  secret: x\n ${leak}\n${routes}`, `accessToken:\n\tsecret: ${leak}\n${routes}`, `keys: { masterKey: ${leak} }\n${routes}`, `clients: [{ id: a, secret: [${leak}] }]\n${routes}`,
    `clients: [{ id: a, secret: ${leak}, secret: ${leak} }]\n${routes}`, `issuer: https://user:${leak}@host\n${routes}`, `storage: mysql://user:${leak}@host/db\n${routes}`, `storageOptions: { listenUrl: mysql://user:${leak}@host/db }\n${routes}`, `storageOptions: { password: [${leak}] }\n${routes}`,
    routes.replace('http://127.0.0.1:3000', `http://user:${leak}@host`), hmac('secret: "${LEAK}"'), `listen: { port: "\${LEAK}" }\n${routes}`, `log: { level: "\${LEAK}" }\n${routes}`, `accessToken: { lifetime: "\${LEAK}" }\n${routes}`,
  ]
  for (const yaml of wrong) {
    const found = faults(yaml, { LEAK: leak })
    t.ok(found.length > 0, yaml)
    t.notOk(found.join('\n').includes(leak), found.join('\n'))
  }
  t.notOk(faults(routes, { GATEWARDEN_MASTER_KEY: leak }).join('\n').includes(leak))
})

t.test('an HMAC secret that could be guessed is refused', async (t) => {
  const weak = ['short', 'x'.repeat(64), 'abababababababababababababababababababab', '0123456789abcdef0123456789abcdef', secret.slice(0, 62), 'correct horse battery staple']
  for (const text of weak) t.match(faults(hmac(`secret: "${text}"`)), [/^c:1:42 accessToken\.secret: is too weak/], text)
  for (const text of [secret, Buffer.from(secret, 'hex').toString('base64url'), 'Ein langer Satz, den niemand errät: 7 Zwerge']) t.strictSame(faults(hmac(`secret: "${text}"`)), [], text)
  t.match(faults(`accessToken: { algorithm: HS256 }\n${routes}`), [/accessToken\.secret: HS256 needs a secret/])
  t.match(faults(`accessToken: { secret: ${secret} }\n${routes}`), [/accessToken\.secret: is for HS256, HS384 and HS512; ES256 signs with a private key/])
})
