/** The schema of the configuration as one function. In the bundle it comes compiled, and ajv stays at home (scripts/compile-schema.ts). */
import { Ajv, type CodeOptions, type ValidateFunction } from 'ajv'
import { formats } from './formats.ts'
import { configSchema } from './schema.ts'

/** Fills defaults into the value that it checks, and leaves its faults in `errors`. */
export const check: ValidateFunction = compileSchema(createAjv())

export function createAjv (code: CodeOptions = {}): Ajv {
  const ajv = new Ajv({ allErrors: true, useDefaults: true, strict: false, verbose: true, ownProperties: true, code })
  for (const [name, { matches }] of Object.entries(formats)) ajv.addFormat(name, matches)
  return ajv
}

export function compileSchema (ajv: Ajv): ValidateFunction {
  return ajv.compile(configSchema)
}
