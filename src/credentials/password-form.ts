/** Which text a password is, however it was typed, and which text can be none. */

/** Bytes of UTF-8. */
export const longestPassword = 1024

/**
 * OpaqueString of RFC 8265 §4.2, without its list of allowed characters: any Unicode goes; spaces of every kind are one, and so are
 * composed and decomposed forms (NFC). Not NFKC: `①` and `1` are two characters to whoever chose them.
 */
export function passwordForm (password: string): string {
  return password.replace(/\p{Zs}/gu, ' ').normalize('NFC')
}

/** Decided before any work, and about the password alone: it tells nothing about a user. NUL ends a password for bcrypt. */
export function isUnusable (password: string): boolean {
  return password.includes('\0') || Buffer.byteLength(password) > longestPassword
}
