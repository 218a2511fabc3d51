/** Every value that a request sent a header with: of some headers Node keeps the first alone, of others it makes one text. */
import type { IncomingMessage } from 'node:http'

/** `name` in lower case. */
export function headerValues ({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name)
}
