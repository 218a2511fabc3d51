/** The story of the demo, chapter by chapter; each says what should happen, and is checked against what did. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Stage } from './demo-stage.ts'

export interface Scene {
  readonly stage: Stage
  readonly user: { readonly id: string, readonly name: string, readonly password: string }
  readonly logFile: string
}

export async function tell (scene: Scene): Promise<void> {
  await strangers(scene)
  await login(scene)
  await forgery(scene)
  await expiry(scene)
  await theft(scene)
  await logout(scene)
}

const bearer = (variable: string) => ({ authorization: `Bearer $${variable}` })

async function strangers ({ stage }: Scene): Promise<void> {
  stage.title('Without a token the API is not reached')
  const refused = await stage.exchange({ path: '/api/orders', status: 401, code: 'GW_TOKEN_MISSING', show: ['www-authenticate'] })
  stage.check('refused', refused)

  stage.title('What is public is served; who calls cannot be claimed there either')
  const served = await stage.exchange({ path: '/public/hello', headers: { 'X-User-Id': 'mallory' }, status: 200 })
  stage.check('the API saw no X-User-Id', served, sawHeader(served, 'x-user-id') === undefined)
}

async function login (scene: Scene): Promise<void> {
  const { stage, user } = scene
  stage.title('Login: a short-lived access token, and a refresh token')
  stage.check(`${user.name} is logged in`, await logIn(scene))

  stage.title('A verified request, and what the API saw of it')
  const passed = await stage.exchange({ path: '/api/orders', headers: bearer('ACCESS_TOKEN'), status: 200 })
  for (const name of ['x-user-id', 'x-user-roles', 'x-user-email', 'x-request-id', 'x-forwarded-for', 'authorization']) {
    stage.note(`the API saw ${name}: ${String(sawHeader(passed, name) ?? '(none)')}`)
  }
  const knows = sawHeader(passed, 'x-user-id') === user.id
  stage.check('it knows who is calling, and never sees the token', passed, knows, sawHeader(passed, 'authorization') === undefined)

  stage.title('A rule that the user does not meet')
  const denied = await stage.exchange({ path: '/admin/report', headers: bearer('ACCESS_TOKEN'), status: 403, code: 'GW_ACCESS_DENIED' })
  stage.check(`${user.name} is no admin`, denied)
}

async function forgery ({ stage }: Scene): Promise<void> {
  stage.title('A forged token: taken apart, another user put in, and signed with a key of the forger')
  stage.set('FORGED_TOKEN', forge(stage.get('ACCESS_TOKEN')))
  const refused = await stage.exchange({ path: '/admin/report', headers: bearer('FORGED_TOKEN'), status: 401, code: 'GW_TOKEN_INVALID', show: ['www-authenticate'] })
  stage.check('refused: it cannot be signed without the key', refused)
}

async function expiry (scene: Scene): Promise<void> {
  const { stage } = scene
  stage.title('The access token expires; the refresh token buys the next one')
  stage.set('EXPIRED_TOKEN', stage.get('ACCESS_TOKEN'))
  stage.set('USED_REFRESH_TOKEN', stage.get('REFRESH_TOKEN'))
  stage.note('(a few seconds later)')
  await pause(expiresAt(stage.get('ACCESS_TOKEN')) - Date.now() + 50)
  const refused = await stage.exchange({ path: '/api/orders', headers: bearer('EXPIRED_TOKEN'), status: 401, code: 'GW_TOKEN_EXPIRED', show: ['www-authenticate'] })
  const refreshed = await stage.exchange({ path: '/auth/refresh', json: { refresh_token: '$REFRESH_TOKEN' }, status: 200 })
  keep(scene, refreshed)
  const passed = await stage.exchange({ path: '/api/orders', headers: bearer('ACCESS_TOKEN'), status: 200 })
  stage.check('refused, refreshed, passed', refused, refreshed, passed)
}

async function theft ({ stage, logFile }: Scene): Promise<void> {
  stage.title('Somebody has stolen the refresh token that was used just now, and tries it')
  stage.set('ENDED_TOKEN', stage.get('ACCESS_TOKEN'))
  stage.note('(when the grace window for duplicates is over)')
  await pause(1_100)
  const thief = await stage.exchange({ path: '/auth/refresh', json: { refresh_token: '$USED_REFRESH_TOKEN' }, status: 401, code: 'GW_REFRESH_TOKEN_INVALID' })
  const owner = await stage.exchange({ path: '/api/orders', headers: bearer('ENDED_TOKEN'), status: 401, code: 'GW_SESSION_ENDED' })
  const line = readFileSync(logFile, 'utf8').split('\n').find((one) => one.includes('"event":"reuse"'))
  stage.note(`the log says ${line ?? '(nothing)'}`)
  stage.check('the session has ended, for the thief and for whoever was robbed', thief, owner, line !== undefined)
}

async function logout (scene: Scene): Promise<void> {
  const { stage } = scene
  stage.title('Logout holds at once, for the access token too')
  const loggedIn = await logIn(scene)
  const passed = await stage.exchange({ path: '/api/orders', headers: bearer('ACCESS_TOKEN'), status: 200 })
  const loggedOut = await stage.exchange({ method: 'POST', path: '/auth/logout', headers: bearer('ACCESS_TOKEN'), status: 204 })
  const refused = await stage.exchange({ path: '/api/orders', headers: bearer('ACCESS_TOKEN'), status: 401, code: 'GW_SESSION_ENDED' })
  stage.check('the token has not expired, and is refused', loggedIn, passed, loggedOut, refused)
}

async function logIn (scene: Scene): Promise<Answer> {
  const { stage, user } = scene
  const answer = await stage.exchange({ path: '/auth/login', json: { username: user.name, password: user.password }, status: 200 })
  keep(scene, answer)
  return answer
}

function keep ({ stage }: Scene, { body }: Answer): void {
  stage.set('ACCESS_TOKEN', String(body['access_token'] ?? ''))
  stage.set('REFRESH_TOKEN', String(body['refresh_token'] ?? ''))
}

/** Unless the demo is ended meanwhile: then nothing waits for it. */
async function pause (milliseconds: number): Promise<void> {
  await sleep(milliseconds, undefined, { ref: false })
}

/** The example API says in its answer which headers it saw. */
function sawHeader ({ body }: Answer, name: string): unknown {
  const saw = body['saw']
  return typeof saw === 'object' && saw !== null ? (saw as Record<string, unknown>)[name] : undefined
}

/** As the gateway signs, but with another key: the one thing that a forger does not have is the right one. */
function forge (token: string): string {
  const [header = '', payload = ''] = token.split('.')
  const claims = { ...decode(payload), sub: 'root', roles: ['admin'] }
  const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

/** Milliseconds since the epoch. */
function expiresAt (token: string): number {
  const [, payload = ''] = token.split('.')
  return Number(decode(payload)['exp']) * 1000
}

function decode (part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Record<string, unknown>
}
