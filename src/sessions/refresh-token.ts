/** A refresh token: its form, its hash, its successor. What a token is good for is session-service.ts's matter. */
import { createHmac, hash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'

/** A token that was made here, whatever has become of it since. */
export interface RefreshToken {
  readonly sessionId: string
  /** How many rotations came before it. */
  readonly generation: number
  /** 32 bytes. */
  readonly secret: Buffer
  readonly text: string
}

export interface RefreshTokens {
  /** The first token of a new session. */
  first (): RefreshToken
  /** The one that follows: the same each time, and not to be found without the key. */
  successor (token: RefreshToken): RefreshToken
  /** null for whatever was not made here; costs no query. */
  read (text: string): RefreshToken | null
}

const PREFIX = 'gwr_'
const SESSION = 16
const GENERATION = 4
const SECRET = 32
const MAC = 16
const BODY = SESSION + GENERATION + SECRET
const TEXT_LENGTH = PREFIX.length + Math.ceil((BODY + MAC) * 4 / 3)

/** `key`: 32 bytes that are not in the database. See docs/decisions/0001. */
export function createRefreshTokens (key: Buffer): RefreshTokens {
  const macKey = createHmac('sha256', key).update('authenticity').digest()
  const chainKey = createHmac('sha256', key).update('successor').digest()

  const mac = (body: Buffer): Buffer => createHmac('sha256', macKey).update(body).digest().subarray(0, MAC)

  function make (session: Buffer, generation: number, secret: Buffer): RefreshToken {
    const body = Buffer.concat([session, uint32(generation), secret])
    const text = PREFIX + Buffer.concat([body, mac(body)]).toString('base64url')
    return { sessionId: sessionIdOf(session), generation, secret, text }
  }

  return {
    first: () => make(bytesOf(randomUUID()), 0, randomBytes(SECRET)),
    successor ({ sessionId, generation, secret }) {
      const session = bytesOf(sessionId)
      const next = createHmac('sha256', chainKey).update(session).update(uint32(generation + 1)).update(secret).digest()
      return make(session, generation + 1, next)
    },
    read (text) {
      if (text.length !== TEXT_LENGTH || !text.startsWith(PREFIX)) return null
      const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
      // Buffer passes over what is no base64url, and over stray bits at the end: one token, one spelling.
      if (bytes.length !== BODY + MAC || PREFIX + bytes.toString('base64url') !== text) return null
      const body = bytes.subarray(0, BODY)
      if (!timingSafeEqual(mac(body), bytes.subarray(BODY))) return null
      return {
        sessionId: sessionIdOf(body.subarray(0, SESSION)),
        generation: body.readUInt32BE(SESSION),
        secret: Buffer.from(body.subarray(SESSION + GENERATION)),
        text,
      }
    },
  }
}

/** What is stored of a token. It has 256 random bits: a plain hash cannot be searched. */
export function hashOf (token: RefreshToken): string {
  return hash('sha256', token.text, 'base64url')
}

function uint32 (number: number): Buffer {
  const bytes = Buffer.alloc(GENERATION)
  bytes.writeUInt32BE(number)
  return bytes
}

function bytesOf (uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

function sessionIdOf (bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
