import t from 'tap'
import { violationsIn, type Event } from './session-history.ts'

const bounds = { lag: 100, recovery: 300 }
const at = (began: number) => ({ session: 's', began, ended: began + 10 })
const given = (began: number, sent: string, got: string): Event => ({ ...at(began), kind: 'refresh', outcome: 'given', sent, got })
const refused = (began: number, sent: string): Event => ({ ...at(began), kind: 'refresh', outcome: 'refused', sent })
const logout = (began: number, outcome: 'done' | 'unanswered' = 'done'): Event => ({ ...at(began), kind: 'logout', outcome })
const passed = (began: number): Event => ({ ...at(began), kind: 'request', outcome: 'passed' })
const found = (events: Event[], disturbances: { began: number, ended: number }[] = []) => violationsIn({ events, disturbances }, bounds).map((sentence) => sentence.replace(/ \(.*/, ''))

t.test('a history that keeps the promises', async (t) => {
  t.strictSame(found([given(0, 'a', 'b'), given(1, 'a', 'b'), { ...at(2), kind: 'refresh', outcome: 'unanswered', sent: 'b' }, given(20, 'b', 'c'), passed(30), logout(40), refused(45, 'c'), passed(140), refused(200, 'c')]), [])
  t.strictSame(found([logout(0, 'unanswered'), refused(50, 'a')]), [], 'what was not answered may have happened')
  t.strictSame(found([logout(0, 'unanswered'), given(50, 'a', 'b'), passed(60)]), [], 'or not')
  t.strictSame(found([logout(0), passed(900)], [{ began: 50, ended: 700 }]), [], 'a replica that comes back needs its time')
  t.strictSame(found([logout(0), passed(1_200)], [{ began: 50, ended: 700 }, { began: 990, ended: 1_000 }]), [])
})

t.test('and those that break one', async (t) => {
  t.strictSame(found([given(0, 'a', 'b'), given(1, 'a', 'c')]), ['s: a fork: one refresh token has two successors'])
  t.strictSame(found([given(0, 'a', 'c'), given(1, 'b', 'c')]), ['s: one refresh token follows on two'])
  t.strictSame(found([refused(0, 'a')]), ['s: refused, though nobody had asked for its end'])
  t.strictSame(found([refused(0, 'a'), logout(11)]), ['s: refused, though nobody had asked for its end'])
  t.strictSame(found([{ ...at(0), kind: 'request', outcome: 'refused' }]), ['s: refused, though nobody had asked for its end'])
  t.strictSame(found([logout(0), given(11, 'a', 'b')]), ['s: a refresh token of an ended session bought a successor'])
  t.strictSame(found([logout(0), passed(111)]), ['s: an ended session still passes'])
  t.strictSame(found([logout(0), passed(1_001)], [{ began: 50, ended: 700 }]), ['s: an ended session still passes'])
  t.strictSame(found([logout(500), passed(611)], [{ began: 0, ended: 200 }]), ['s: an ended session still passes'])
})
