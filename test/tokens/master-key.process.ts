/** `FILE MOMENT`: opens the master key in that file at that moment (milliseconds since the epoch), and prints what it derives from it. */
import { openMasterKey } from '../../src/tokens/master-key.ts'

const [, , path = '', moment] = process.argv
while (Date.now() < Number(moment));
const { masterKey, created } = openMasterKey({ configured: undefined, fileBesideData: path })
process.stdout.write(`${JSON.stringify({ key: masterKey.derive('x').toString('hex'), created })}\n`)
