/** Whether a password may be set (NIST SP 800-63B §5.1.1.2): long enough, and none that is tried first. No rules of composition. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { StartupFault } from '../errors.ts'
import { commonPasswords } from './common-passwords.ts'
import { isUnusable, passwordForm } from './password-form.ts'

/** Why a password may not be set, as the end of a sentence that begins with `a password`; null for one that may. */
export type NewPasswordFault = (password: string, userName: string) => Promise<string | null>

export interface NewPasswordOptions {
  /** Characters. */
  readonly minimumLength: number
  /** A file of more that may not be set, one a line. */
  readonly blockListFile?: string | undefined
  /** What is near at hand here: the name of the service. The user's own name is, too. */
  readonly contextWords?: readonly string[]
}

/** Characters beside a common word that make nothing else of it: `Password2024!`. */
const FEW = 6

export function createNewPasswordFault ({ minimumLength, blockListFile, contextWords = [] }: NewPasswordOptions): NewPasswordFault {
  return async function newPasswordFault (password, userName) {
    const length = lengthFault(password, minimumLength)
    if (length !== null) return length
    const text = folded(password)
    if (isPattern(text)) return 'is not one character again and again, nor a row of the alphabet or the keyboard'
    if (isCommon(text)) return 'is none of those that everybody tries first'
    const word = [userName, ...userName.split(/[@.\s_-]+/), ...contextWords].find((one) => isLittleMoreThan(text, folded(one)))
    if (word !== undefined) return `is not made of ${word === userName || userName.includes(word) ? 'the user’s own name' : 'the name of this service'}`
    if (blockListFile !== undefined && await isListed(text, blockListFile)) return 'is none of those in the list of passwords.blockList'
    return null
  }
}

/** Also where there is no list: what can be hashed at all, and how long it has to be. */
export function lengthFault (password: string, minimumLength: number): string | null {
  const form = passwordForm(password)
  // Both: what was typed is what a login measures.
  if (isUnusable(password) || isUnusable(form)) return 'has no NUL and at most 1024 bytes'
  return [...form].length < minimumLength ? `has at least ${minimumLength} characters (passwords.minimumLength)` : null
}

/** Capitals, full-width letters and the like do not make a common password a rare one. */
function folded (text: string): string {
  return text.normalize('NFKC').toLowerCase()
}

function isCommon (text: string): boolean {
  const [, before = '', core = '', after = ''] = /^([^\p{L}]*)(.*?)([^\p{L}]*)$/su.exec(text) ?? []
  const isLittle = (rest: string) => rest.length < FEW || isPattern(rest)
  const words = [text, core, plainLetters(text), plainLetters(core), plainLetters(before + core)]
  return isLittle(before + after) && words.some((word) => commonPasswords.has(word))
}

/** `p@ssw0rd` is `password`. */
function plainLetters (text: string): string {
  const letters: Readonly<Record<string, string>> = { '@': 'a', '4': 'a', '3': 'e', '1': 'i', '!': 'i', '0': 'o', '$': 's', '5': 's', '7': 't' }
  return text.replace(/[@431!0$57]/g, (sign) => letters[sign] ?? sign)
}

/** Of a word of three letters or fewer nothing can be said. */
function isLittleMoreThan (text: string, word: string): boolean {
  return word.length > 3 && text.includes(word) && text.replaceAll(word, '').length < FEW
}

const ROWS = ['qwertyuiop', 'qwertzuiop', 'asdfghjkl', 'zxcvbnm', 'yxcvbnm', 'azertyuiop', '1234567890', 'abcdefghijklmnopqrstuvwxyz', '1qaz2wsx3edc4rfv5tgb6yhn7ujm']

/** `aaaaaaaa`, `abcabcabc`, `87654321`, `qwertyuiop`. */
function isPattern (text: string): boolean {
  for (let unit = 1; unit <= Math.min(4, text.length / 2); unit++) {
    if (text.startsWith(text.slice(unit)) && text.length >= 2 * unit) return true
  }
  return ROWS.some((row) => {
    const endless = row.repeat(2)
    return endless.includes(text) || [...endless].reverse().join('').includes(text)
  })
}

/** Read anew each time, line by line: such lists are long, and passwords are seldom set. */
async function isListed (text: string, file: string): Promise<boolean> {
  const input = createReadStream(file, 'utf8')
  try {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) {
      if (line !== '' && folded(line) === text) return true
    }
    return false
  } catch (error) {
    throw new StartupFault(`the list of passwords.blockList cannot be read: ${file}`, { cause: error })
  } finally {
    input.destroy()
  }
}
