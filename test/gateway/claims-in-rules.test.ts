import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

t.test('a rule over a user attribute holds though no identity header names it', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, { routes: [{ path: '/acme', upstream: upstream.url, access: { claims: { tenant: ['acme', 'acme-labs'] } } }] })
  const status = async (name: string) => (await fetch(`${gateway.url}/acme`, { headers: { authorization: `Bearer ${await gateway.token(name)}` } })).status
  t.strictSame([await status('root'), await status('alice')], [200, 403])
})
