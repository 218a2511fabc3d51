/** undici, as far as it is wanted here: loaded by `import()` where a document or a user is asked for, and else not at all. */
export { Agent } from 'undici'
