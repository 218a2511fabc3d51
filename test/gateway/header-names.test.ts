import t from 'tap'
import { compileHeaderNames, foldName, nominated, without } from '../../src/gateway/header-names.ts'

const names = compileHeaderNames({ identity: ['X-User-Id', 'X-Tenant'], reservedPrefixes: ['X-User-', 'X-Gatewarden-'] })

t.test('every spelling that some server folds together is one name', async (t) => {
  for (const spelling of ['X-User-Id', 'x-user-id', 'X_USER_ID', 'x_user-id', 'x.user.id', 'x~user~id', 'X--User--Id', 'HTTP_X_USER_ID', 'http-x-user-id']) {
    t.equal(foldName(spelling), 'x-user-id', spelling)
    t.equal(names.requestFate(spelling), 'drop', spelling)
  }
})

t.test('separators around a name make no other name of it', async (t) => {
  for (const name of ['X-Tenant-', 'X_Tenant_', 'X-Tenant.', '-X-Tenant', '_X_TENANT', '_HTTP_X_TENANT', 'X-Real-IP_', '.Forwarded']) t.equal(names.requestFate(name), 'drop', name)
  t.equal(names.responseFate('X-Tenant-'), 'drop')
  for (const name of ['X-Tenants-', 'X-User', '-Accept-']) t.equal(names.requestFate(name), 'keep', name)
})

t.test('all under a reserved prefix is dropped, and what only begins alike is kept', async (t) => {
  for (const name of ['X-User-Email', 'x_user_anything', 'X-Gatewarden-Route', 'X-Forwarded-For', 'x_forwarded_host', 'X-Forwarded-Whatever', 'X_Tenant']) {
    t.equal(names.requestFate(name), 'drop', name)
  }
  for (const name of ['X-Users', 'X-Tenants', 'User-Id', 'Cookie', 'Accept', 'X-Api-Key', 'Content-Type', 'Sec-WebSocket-Key', 'Http-Referer']) {
    t.equal(names.requestFate(name), 'keep', name)
  }
})

t.test('what could tell an upstream of another path, method or caller is dropped', async (t) => {
  for (const name of ['Forwarded', 'X-Real-IP', 'X-Original-URL', 'X_Rewrite_Url', 'X-HTTP-Method-Override', 'X-Method-Override', 'Proxy', 'Remote-User', 'True-Client-IP']) {
    t.equal(names.requestFate(name), 'drop', name)
  }
})

t.test('hop-by-hop headers stay on their hop, both ways', async (t) => {
  for (const name of ['Keep-Alive', 'TE', 'Trailer', 'Transfer-Encoding', 'Upgrade', 'Proxy-Connection', 'Proxy-Authorization', 'Proxy-Authenticate', 'HTTP2-Settings']) {
    t.equal(names.requestFate(name), 'drop', name)
    t.equal(names.responseFate(name), 'drop', name)
  }
  t.equal(names.requestFate('Connection'), 'connection')
  t.equal(names.responseFate('CONNECTION'), 'connection')
})

t.test('an answer loses identity echoes and a foreign request id, and keeps the rest', async (t) => {
  t.equal(names.responseFate('X_User_Id'), 'drop')
  t.equal(names.responseFate('x-request-id'), 'drop')
  for (const name of ['Set-Cookie', 'Content-Length', 'Server', 'WWW-Authenticate', 'X-User-Agent']) t.equal(names.responseFate(name), 'keep', name)
})

t.test('the answer for a name does not depend on how many were asked before', async (t) => {
  for (let count = 0; count < 3000; count++) names.requestFate(`X-Flood-${count}`)
  t.equal(names.requestFate('x_USER-id'), 'drop')
  t.equal(names.requestFate('X-Fine'), 'keep')
})

t.test('Connection nominates names, but for its own words', async (t) => {
  t.equal(nominated('keep-alive'), null)
  t.equal(nominated('Close'), null)
  t.strictSame(nominated('close, X-Secret ,keep-alive,TE'), ['x-secret', 'te'])
  t.strictSame(without(['A', '1', 'x-secret', '2', 'B', '3', 'X-SECRET', '4'], ['x-secret']), ['A', '1', 'B', '3'])
})
