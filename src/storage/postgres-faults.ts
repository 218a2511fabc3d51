/** What PostgreSQL or the network says at a start → one clear line, and what to do. The driver's own words may hold secrets, and stay the cause. */
import { StartupFault } from '../errors.ts'
import { codeOf } from './postgres-connections.ts'
import { placeOf, type PostgresAddress } from './postgres-url.ts'

export function connectFault (error: unknown, address: PostgresAddress): StartupFault {
  if (error instanceof StartupFault) return error
  return new StartupFault(`PostgreSQL at ${placeOf(address)} ${connectReason(error, address)}`, { cause: error })
}

function connectReason (error: unknown, { user, database, ssl }: PostgresAddress): string {
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : ''
  switch (code) {
    case '28P01': return `refuses the password of ${JSON.stringify(user)}; see \`storage\` or storageOptions.password`
    case '28000': return `does not let ${JSON.stringify(user)} in from here; see its pg_hba.conf${ssl === false ? ', which may ask for TLS (storageOptions.tls)' : ''}`
    case '3D000': return `has no database ${JSON.stringify(database)}; make it with: CREATE DATABASE, as an owner of which ${JSON.stringify(user)} can be named`
    case '42501': return `does not let ${JSON.stringify(user)} into the database ${JSON.stringify(database)}; grant CONNECT on it`
    case '53300': return 'has no connection left; raise its max_connections, or make storageOptions.poolSize smaller'
    case '57P03': return 'is starting up or shutting down; try again when it is up'
  }
  if (message.includes('does not support SSL')) return 'offers no TLS; turn it on there, or choose storageOptions.tls.mode: off'
  if (/CERT|SIGNATURE|ISSUER|^ERR_TLS|^ERR_SSL/.test(code)) return `shows a certificate that is not trusted (${code}); name the CA in storageOptions.tls.ca, and connect by the name that the certificate has`
  if (message.startsWith('SASL') || message.includes('password')) return `wants a password for ${JSON.stringify(user)}; give it in \`storage\` or storageOptions.password`
  return `cannot be reached (${code === '' ? 'no answer in time' : code}); see that it runs, and that the way to it is open`
}

/** Where the schema is to be made or brought up to date. */
export function schemaFault (error: unknown, schema: string, { user, database }: PostgresAddress): StartupFault | null {
  const code = codeOf(error)
  const names = `${JSON.stringify(user)} may not make or change the tables of the schema ${schema} in the database ${JSON.stringify(database)}`
  if (code === '42501') return new StartupFault(`${names}; run once, as its owner: CREATE SCHEMA ${schema} AUTHORIZATION "${user}"`, { cause: error })
  if (code === '25006') return new StartupFault(`the database ${JSON.stringify(database)} takes no writes (a standby, or default_transaction_read_only); connect to the primary`, { cause: error })
  return null
}
