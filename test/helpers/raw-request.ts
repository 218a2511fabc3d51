/** Raw sockets for tests: the same that `gatewarden attack` uses. */
export { rawRequest, readResponse, type RawOptions, type RawResponse } from '../../src/attack/raw-request.ts'
