import t from 'tap'
import { lenientReading, pathFault } from '../../src/routes/canonical-path.ts'

t.test('takes a path that has just one reading', async (t) => {
  for (const target of [
    '/', '/api', '/api/', '/api/x.json', '/api/.well-known', '/api/...', '/api/..x', '/api/x..', '/a-b_c~d', '/%7Euser',
    '/files/a%20b', '/files/%C3%A9t%C3%A9', '/%F0%9F%98%80', '/a;b=c/d', '/x@y:z,!$&\'()*+=', '/a?b=/../%2e%2e//\\', '/?%zz', '/x%25',
    '/100%25%20off', '/100%25under', '/a%3Fb%23c', '/a|b^c`d{e}"f<g>', '/api?q=caf\xe9',
  ]) t.equal(pathFault(target), null, target)
})

t.test('refuses dot segments, raw, encoded and with parameters', async (t) => {
  for (const target of [
    '/.', '/..', '/a/.', '/a/..', '/a/./b', '/a/../b', '/../a', '/a/..;/b', '/a/.;x/b', '/a/%2e/b', '/a/%2E%2e/b', '/a/.%2e/b', '/a/%2e./b', '/a/..?x', '/..;',
  ]) t.type(pathFault(target), 'string', target)
})

t.test('refuses empty segments', async (t) => {
  for (const target of ['//', '//a', '/a//b', '/a//', '///', '/;/a', '/;x', '/a/;']) t.type(pathFault(target), 'string', target)
})

t.test('refuses slashes, backslashes and control characters behind an encoding', async (t) => {
  for (const target of ['/a%2fb', '/a%2Fb', '/a%5cb', '/a%5Cb', '/a%00', '/a%0d%0aX', '/a%1f', '/a%7f']) t.type(pathFault(target), 'string', target)
})

t.test('refuses what is encoded twice', async (t) => {
  for (const target of ['/%252e%252e/a', '/a%252fb', '/a%255c', '/a%2500', '/%2541', '/%25u0061dmin', '/%25U002e']) t.type(pathFault(target), 'string', target)
})

t.test('refuses needless, broken, overlong and ill-formed encodings', async (t) => {
  for (const target of [
    '/%61dmin', '/%41', '/a%30', '/a%2d', '/a%5f', '/%', '/%4', '/%zz', '/%u0041', '/%c0%ae', '/%c0%af', '/%e0%80%af', '/%f0%80%80%af', '/%c3',
    '/%c3x', '/%80', '/%ff', '/%ed%a0%80', '/%f4%90%80%80', '/%f5%80%80%80', '/%e9',
  ]) t.type(pathFault(target), 'string', target)
})

t.test('refuses backslashes, fragments, white space, control and non-ASCII bytes', async (t) => {
  for (const target of ['/a\\b', '/a#b', '/a b', '/a\tb', '/a\x00', '/a\x7f', '/\xe9', '/a?b#c', '/a?b c', '/a?b\x01']) t.type(pathFault(target), 'string', target)
})

t.test('refuses what is no path', async (t) => {
  for (const target of ['', '*', 'a', 'http://a/b', '?a', '\\a']) t.type(pathFault(target), 'string', target)
})

t.test('agrees with the decoder of the platform on which escapes are UTF-8', async (t) => {
  for (let lead = 0x80; lead < 0x100; lead++) {
    for (const rest of [[], [0x80], [0xbf], [0x9f, 0x80], [0xa0, 0x80], [0x8f, 0x80, 0x80], [0x90, 0x80, 0x80], [0xbf, 0xbf, 0xbf]]) {
      const target = `/${[lead, ...rest].map((byte) => `%${byte.toString(16)}`).join('')}`
      let decodes = true
      try {
        decodeURIComponent(target)
      } catch {
        decodes = false
      }
      t.equal(pathFault(target) === null, decodes, target)
    }
  }
})

t.test('reads as a lenient upstream would', async (t) => {
  t.equal(lenientReading('/Admin/X'), '/admin/x')
  t.equal(lenientReading('/admin;a=b/x;c'), '/admin/x')
  t.equal(lenientReading('/%40me'), '/@me')
  t.equal(lenientReading('/admin%3Bx'), '/admin')
  t.equal(lenientReading('/admin.'), '/admin')
  t.equal(lenientReading('/admin%20/x'), '/admin/x')
  t.equal(lenientReading('/.../admin'), '/admin')
  t.equal(lenientReading('/%20/admin'), '/admin')
  t.equal(lenientReading('/x.json'), '/x.json')
  t.equal(lenientReading('/%EF%BD%81dmin'), '/admin', 'a full-width letter')
  t.equal(lenientReading('/x/%E2%80%A5%EF%BC%8Fadmin'), '/admin', 'a two-dot leader and a full-width slash')
  t.equal(lenientReading('/adm%C4%B1n'), '/admin', 'a dotless i, whose capital is I')
  t.equal(lenientReading('/admin%3Fx/y'), '/admin', 'an escape that reads as a query once decoded')
})
