/** A folder with a gateway's SQLite file, for what can happen to it. */
import type { Test } from 'tap'
import { cli, configText, password } from '../cli/running-cli.ts'

/** A folder with a configuration, a file of storage, and alice in it. */
export async function folderWithAlice (t: Test, { upstream, storage = 'data/gatewarden.db' }: { readonly upstream: string, readonly storage?: string }): Promise<string> {
  const routes = [{ path: '/api', upstream, access: 'authenticated' }]
  const folder = t.testdir({ 'config.yaml': configText({ storage: `sqlite:${storage}`, refreshToken: { graceWindow: '0s' }, routes }) })
  const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)
  if (added.code !== 0) throw new Error(added.stderr)
  return folder
}

/** Said aloud, for `.ci/run` to repeat at its end. */
export function notRun (t: Test, what: string, why: string): void {
  t.comment(`NOT RUN: ${what}, for ${why}`)
  t.pass(`NOT RUN: ${what} (${why})`)
}
