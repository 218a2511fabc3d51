import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createGroupCommit, type Answer, type Task } from '../../src/storage/group-commit.ts'
import { openSqlite, type SqliteConnection } from '../../src/storage/sqlite-driver.ts'

/** `said`: what SQLite was told beside the statements themselves, and what was answered, in order. */
function start (t: Test, { faultAt = null as string | null, errcode = 13 } = {}) {
  const path = join(t.testdir({}), 'group.db')
  const real = openSqlite(path)
  real.exec('pragma journal_mode = wal')
  real.exec('create table things (name text primary key)')
  const said: string[] = []
  const timers: (() => void)[] = []
  const clock = { time: 0 }
  let fault = faultAt
  const connection: SqliteConnection = {
    exec (sql) {
      said.push(sql)
      if (sql === fault) {
        fault = null
        throw Object.assign(new Error('database or disk is full'), { errcode })
      }
      real.exec(sql)
    },
    prepare: (sql) => real.prepare(sql),
    close: () => { real.close() },
  }
  const group = createGroupCommit(connection, {
    answer: (answers) => { said.push(...answers.map(brief)) },
    beforeCommit: () => {},
    patience: 100,
    now: () => clock.time,
    later: (_milliseconds, work) => { timers.push(work) },
  })
  t.teardown(() => { real.close() })
  let id = 0
  return {
    path,
    said,
    clock,
    tick: () => { for (const work of timers.splice(0)) work() },
    run: (...tasks: Unnumbered[]) => {
      group.run(tasks.map((task) => ({ id: id++, ...task })))
      return said.splice(0)
    },
    names: () => openSqlite(path).prepare('select name from things order by name').all().map(({ name }) => name),
  }
}

type Unnumbered = Task extends infer T ? T extends Task ? Omit<T, 'id'> : never : never

const insert = (name: string, unit: number | null = null): Unnumbered => ({ what: 'query', unit, sql: 'insert into things values (?)', parameters: [name] })
const read: Unnumbered = { what: 'query', unit: null, sql: 'select name from things order by name', parameters: [] }

function brief (answer: Answer): string {
  if ('error' in answer) return `${answer.id} failed ${answer.errcode}`
  return answer.rows.length > 0 ? `${answer.id} ${answer.rows.map((row) => row['name'] ?? 'version').join('+')}` : `${answer.id} done`
}

t.test('what comes together is one commit, and is answered after it', async (t) => {
  const { run } = start(t)
  t.strictSame(run(insert('a'), insert('b'), insert('c')), ['BEGIN IMMEDIATE', 'COMMIT', '0 done', '1 done', '2 done'])
  t.strictSame(run(insert('d')), ['BEGIN IMMEDIATE', 'COMMIT', '3 done'])
})

t.test('who only reads takes no lock; who reads what a group has written is answered when it is on the disk', async (t) => {
  const { run } = start(t)
  t.strictSame(run(insert('a'), read), ['BEGIN IMMEDIATE', 'COMMIT', '0 done', '1 a'])
  t.strictSame(run(read, { what: 'version' }), ['2 a', '3 version'])
})

t.test('of a group, a statement that fails takes nothing of the others with it', async (t) => {
  const { run, names } = start(t)
  t.strictSame(run(insert('a'), insert('a'), insert('b')), ['BEGIN IMMEDIATE', 'COMMIT', '1 failed 19', '0 done', '2 done'])
  t.strictSame(names(), ['a', 'b'])
})

t.test('a commit that fails is a failure for each of the group, and nothing of it stays', async (t) => {
  const { run, names } = start(t, { faultAt: 'COMMIT' })
  t.strictSame(run(insert('a'), read, insert('b')), ['BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK', '0 failed 13', '1 failed 13', '2 failed 13'])
  t.strictSame(names(), [])
  t.strictSame(run(insert('a')), ['BEGIN IMMEDIATE', 'COMMIT', '3 done'], 'the next is as good as any')
})

t.test('a transaction has the connection until its end: the others wait, and none waits for its commit before', async (t) => {
  const { run, names } = start(t)
  t.strictSame(run(insert('before'), { what: 'begin', unit: 7 }, insert('beside')), ['BEGIN IMMEDIATE', 'COMMIT', 'BEGIN IMMEDIATE', '0 done', '1 done'])
  t.strictSame(run(read, insert('within', 7)), ['4 done'])
  t.strictSame(run({ what: 'commit', unit: 7 }), ['COMMIT', 'BEGIN IMMEDIATE', 'COMMIT', '5 done', '2 done', '3 before+beside+within'])
  t.strictSame(names(), ['before', 'beside', 'within'])
})

t.test('a transaction that is taken back leaves nothing, and the next one its turn', async (t) => {
  const { run, names } = start(t)
  run({ what: 'begin', unit: 1 }, { what: 'begin', unit: 2 })
  run(insert('a', 1))
  t.strictSame(run({ what: 'rollback', unit: 1 }), ['ROLLBACK', 'BEGIN IMMEDIATE', '3 done', '1 done'])
  t.strictSame(run(insert('b', 2), { what: 'commit', unit: 2 }), ['COMMIT', '4 done', '5 done'])
  t.strictSame(names(), ['b'])
})

t.test('a transaction whose commit fails has failed, and the others go on', async (t) => {
  const { run, names } = start(t, { faultAt: 'COMMIT' })
  t.strictSame(run({ what: 'begin', unit: 1 }, insert('a', 1), { what: 'commit', unit: 1 }, insert('b')), ['BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK', 'BEGIN IMMEDIATE', 'COMMIT', '0 done', '1 done', '2 failed 13', '3 done'])
  t.strictSame(names(), ['b'])
})

t.test('what comes together with the beginning of its transaction is done in it, and fails with it', async (t) => {
  const { run, path, said, clock, tick, names } = start(t)
  t.strictSame(run({ what: 'begin', unit: 1 }, insert('a', 1), insert('b')), ['BEGIN IMMEDIATE', '0 done', '1 done'])
  t.strictSame(run({ what: 'commit', unit: 1 }), ['COMMIT', 'BEGIN IMMEDIATE', 'COMMIT', '3 done', '2 done'])

  const other = openSqlite(path)
  t.teardown(() => { other.close() })
  other.exec('begin immediate')
  t.strictSame(run({ what: 'begin', unit: 2 }, { ...read, unit: 2 }, insert('c', 2), read), ['BEGIN IMMEDIATE', '7 a+b'], 'a read within the transaction waits for its beginning, as a write does')
  clock.time = 200
  tick()
  t.strictSame(said.splice(0), ['BEGIN IMMEDIATE', '4 failed 5', '5 failed 0', '6 failed 0'])
  other.exec('rollback')
  t.strictSame(run({ what: 'commit', unit: 2 }, { what: 'rollback', unit: 2 }), ['8 failed 0', '9 done'])
  t.strictSame(names(), ['a', 'b'])
})

t.test('while another process has the file, who writes waits as long as configured, and who reads does not', async (t) => {
  const { run, path, said, clock, tick } = start(t)
  const other = openSqlite(path)
  t.teardown(() => { other.close() })
  other.exec('begin immediate')
  t.strictSame(run(insert('a'), read, { what: 'begin', unit: 1 }), ['BEGIN IMMEDIATE', '1 done'])
  t.strictSame(run(insert('later'), read), ['4 done'])
  clock.time = 99
  tick()
  t.strictSame(said.splice(0), ['BEGIN IMMEDIATE'])
  other.exec('rollback')
  tick()
  t.strictSame(said.splice(0), ['BEGIN IMMEDIATE', 'COMMIT', 'BEGIN IMMEDIATE', '0 done', '2 done'])
  t.strictSame(run({ what: 'commit', unit: 1 }), ['COMMIT', 'BEGIN IMMEDIATE', 'COMMIT', '5 done', '3 done'])

  other.exec('begin immediate')
  run(insert('too late'))
  clock.time = 200
  tick()
  t.strictSame(said.splice(0), ['BEGIN IMMEDIATE', '6 failed 5'])
  other.exec('rollback')
})
