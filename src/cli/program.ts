/** The command line as a whole: its commands in the order of the help, and what all of them share. */
import { Command } from 'commander'
import { addCheck } from './check.ts'
import { addDemo } from './demo.ts'
import { addExplain } from './explain.ts'
import { addKeys } from './keys.ts'
import { addStart } from './start.ts'
import { addUsers } from './users.ts'
import { version } from './version.ts'

export function createProgram (): Command {
  const program = new Command('gatewarden')
    .description('A gateway that gives login to APIs that know nothing of it.')
    .version(version(), '-V, --version', 'print the version')
    // Commands inherit it: faults of usage come back as errors, and get this program's exit codes.
    .exitOverride()
    .addHelpText('after', '\nExit codes: 0 well, 1 failed, 2 wrong usage or wrong configuration.\n')
  addStart(program)
  addCheck(program)
  addDemo(program)
  addExplain(program)
  addUsers(program)
  addKeys(program)
  return program
}
