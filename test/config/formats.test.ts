import t from 'tap'
import { formats, parseDuration, parseSize } from '../../src/config/formats.ts'

t.test('durations are milliseconds', async (t) => {
  for (const [text, milliseconds] of Object.entries({ '0s': 0, '500ms': 500, '30s': 30_000, '5m': 300_000, '12h': 43_200_000, '30d': 2_592_000_000, '3650d': 315_360_000_000, '007s': 7_000 })) t.equal(parseDuration(text), milliseconds, text)
  for (const text of ['', '5', 's', '5 s', ' 5s', '5s ', '-5s', '+5s', '1.5h', '1e3s', '5S', '5sec', '1h30m', '0x5s', '５s', '3651d', '9999999999999999s', 'Infinitys', '5constructor', '5\n', '5ms\n']) t.equal(parseDuration(text), null, text)
})

t.test('sizes are bytes, in powers of 1024', async (t) => {
  for (const [text, bytes] of Object.entries({ '0b': 0, '512b': 512, '64kb': 65_536, '10mb': 10_485_760, '1gb': 1_073_741_824, '1024gb': 1024 ** 4 })) t.equal(parseSize(text), bytes, text)
  for (const text of ['', '64', '64k', '64KB', '64 kb', '64kib', '-1kb', '1.5mb', '1tb', '1025gb', 'kb']) t.equal(parseSize(text), null, text)
})

t.test('what each format takes, and what it does not', async (t) => {
  const cases: Record<string, { right: string[], wrong: string[] }> = {
    'route-path': {
      right: ['/', '/api', '/api/v1', '/a.b', '/.well-known', '/a:b@c', '/...', "/a'b(c)*+,=!$&~"],
      wrong: ['', 'api', '/api/', '//', '//api', '/a//b', '/.', '/..', '/a/./b', '/a/../b', '/a/..', '/%61', '/a;b', '/a?b', '/a#b', '/a b', '/a\\b', '/ä', '/a\n', '/a\0', 'http://a/b', '/{id}'],
    },
    'host': {
      right: ['api.example.com', 'API.example.com.', 'localhost', 'a_b.test', '127.0.0.1', '[::1]', 'xn--bcher-kva.example'],
      wrong: ['', '.', 'a:80', '*.example.com', 'a b', 'a/b', 'a..b', '-a', 'a-', '[::1', '::1', '[1.2.3.4]', 'bücher.example', 'user@a', `${'a'.repeat(255)}`],
    },
    'upstream': {
      right: ['http://127.0.0.1:3000', 'https://api.example', 'http://[::1]:3000', 'http://localhost', 'http://orders:3000/'],
      wrong: ['', '127.0.0.1:3000', 'ftp://a', 'http://', 'http://a/b', 'http://a?b', 'http://a#b', 'http://user:secret@a', 'http://user@a', 'http://a:99999', 'unix:/run/x', '//a', 'javascript:alert(1)', 'http://a b'],
    },
    'issuer': {
      right: ['https://gate.example', 'http://localhost:8080', 'https://gate.example/tenant', 'https://gate.example:8443'],
      wrong: ['', 'gate.example', 'https://gate.example/', 'https://gate.example?x', 'https://gate.example#x', 'https://u:p@gate.example', 'ftp://gate.example', ' https://gate.example', 'https://gate.example\n'],
    },
    'issuer-name': {
      right: ['corp', 'a', 'login.example.com', 'A_b-1'],
      wrong: ['', '.a', '-a', 'a|b', 'a:b', 'a b', 'ä', 'a'.repeat(65)],
    },
    'source-name': {
      right: ['staff', 'a', 'old.crm', 'A_b-1'],
      wrong: ['', '.a', '-a', 'a|b', 'a:b', 'a b', 'ä', 'a'.repeat(65)],
    },
    'user-database': {
      right: ['postgres://u:p@db:5432/crm', 'postgresql://db/crm', 'sqlite:./users.db'],
      wrong: ['', 'mysql://db/crm', 'sqlite:', 'postgres://', './users.db'],
    },
    'endpoint': {
      right: ['http://accounts:3000/internal/check', 'https://accounts.example/check?realm=a', 'http://[::1]:3000/'],
      wrong: ['', 'accounts:3000', 'ftp://a/b', 'http://u:p@a/b', 'http://a/b#c', 'http://', '/check'],
    },
    'cidr': {
      right: ['10.0.0.0/8', '10.1.2.3', '0.0.0.0/0', 'fd00::/8', '::1', '::/0', '192.0.2.1/32', '2001:db8::/128'],
      wrong: ['', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8/8', 'localhost', '10.0.0.0/0x8', '10.0.0.0/ 8', '010.0.0.1', 'fe80::1%eth0/64/2'],
    },
    'header-name': { right: ['X-User-Id', 'x', "!#$%&'*+.^`|~-"], wrong: ['', 'X_User_Id', 'X User', 'X:', 'X-Üser', 'X\r\nY', 'X\0', '(x)'] },
    'method': { right: ['GET', 'POST', 'M-SEARCH', 'PURGE'], wrong: ['', 'get', 'Get', 'CONNECT', 'GET ', '-', 'G'.repeat(33)] },
    'postgres-url': { right: ['postgres://u:p@h:5432/d', 'postgresql://u@h/d'], wrong: ['', 'postgres://', 'sqlite:./x.db', 'Postgres://h/d', ' postgres://h/d'] },
    'sql-name': { right: ['gatewarden', '_a1', 'x'.repeat(40)], wrong: ['', 'Gatewarden', '1a', 'a b', 'a"b', 'pg_x', 'x'.repeat(41), 'a.b'] },
    'storage': { right: ['sqlite:./data/x.db', 'sqlite:/var/lib/x', 'postgres://u:p@h:5432/d'], wrong: ['', 'sqlite:', './x.db', 'mysql://x', 'SQLITE:x'] },
    'path': { right: ['x', '/a b/c', '../x'], wrong: ['a\0b'] },
  }
  t.strictSame(Object.keys(formats).filter((name) => !['duration', 'size'].includes(name)).sort(), Object.keys(cases).sort())
  for (const [name, { right, wrong }] of Object.entries(cases)) {
    for (const text of right) t.equal(formats[name]?.matches(text), true, `${name} ${JSON.stringify(text)}`)
    for (const text of wrong) t.equal(formats[name]?.matches(text), false, `${name} ${JSON.stringify(text)}`)
  }
})
