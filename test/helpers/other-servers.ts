/** Servers that are not Node's, as upstreams: what they make of a request line and of a head, told by themselves. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePort } from './free-port.ts'

export interface OtherServer {
  readonly url: string
  close (): Promise<void>
}

export function isInstalled (command: string): boolean {
  return spawnSync(command, ['-v'], { stdio: 'ignore' }).error === undefined
}

/** Answers with five lines: which location it chose, the path as sent, the path as it reads it, and the values of two headers. */
export async function startNginx (folder: string, { openPath, protectedPath, headers }: { openPath: string, protectedPath: string, headers: readonly [string, string] }): Promise<OtherServer> {
  const port = await freePort()
  const variables = headers.map((name) => `$http_${name.toLowerCase().replaceAll('-', '_')}`)
  const answer = (location: string) => `return 200 '${[location, '$request_uri', '$uri', ...variables].join('\\n')}\\n';`
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder};`).join(' ')
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, `
    daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
    events { worker_connections 256; }
    http {
      access_log off; ${temporary} large_client_header_buffers 4 32k; default_type text/plain;
      # As freely as it can: names that it would pass over are taken, and folded.
      underscores_in_headers on; ignore_invalid_headers off;
      server {
        listen 127.0.0.1:${port};
        location / { ${answer('elsewhere')} }
        location ${openPath} { ${answer('open')} }
        location = ${protectedPath} { ${answer('protected')} }
        location ${protectedPath}/ { ${answer('protected')} }
      }
    }`)
  return await started('nginx', ['-p', folder, '-c', file, '-e', join(folder, 'error.log')], port)
}

/** nginx with the `nginx.conf` that is in the folder once `configure` has been told a free port for it. */
export async function startNginxWith (folder: string, configure: (port: number) => void): Promise<OtherServer & { readonly port: number }> {
  const port = await freePort()
  configure(port)
  return { ...await started('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')], port), port }
}

/** Python's own WSGI server (PEP 3333): answers with its environment as JSON, and the path as sent under RAW_PATH. */
export async function startWsgi (): Promise<OtherServer> {
  const port = await freePort()
  return await started('python3', ['-c', WSGI, String(port)], port)
}

const WSGI = `
import json, socketserver, sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Handler(WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), 'RAW_PATH': self.path}
    def log_message(self, *args):
        pass

def application(environ, start_response):
    body = json.dumps({name: value for name, value in environ.items() if name.startswith('HTTP_') or name in ('PATH_INFO', 'RAW_PATH', 'CONTENT_LENGTH')}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]

Handler.address_string = lambda self: 'client'
make_server('127.0.0.1', int(sys.argv[1]), application, Server, Handler).serve_forever()
`

async function started (command: string, args: readonly string[], port: number): Promise<OtherServer> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => { said += chunk.toString() })
  while (!await accepts(port)) {
    if (child.exitCode !== null) throw new Error(`${command} has ended: ${said}`)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async close () {
      const exited = once(child, 'exit')
      // It ends its workers with it.
      child.kill('SIGTERM')
      await exited
    },
  }
}

async function accepts (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const accepted = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => { resolve(true) })
    socket.once('error', () => { setTimeout(resolve, 20, false) })
  })
  socket.destroy()
  return accepted
}
