// Starts npm's bittorrent-tracker for compare.sh: WebSockets only, on loopback.
// Usage: bittorrent-tracker.mjs [--port N]; without it the system chooses.
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } })
const tools = join(dirname(fileURLToPath(import.meta.url)), '.tools', 'package.json')
const entry = createRequire(tools).resolve('bittorrent-tracker/server')
const { default: Server } = await import(pathToFileURL(entry))

const server = new Server({ udp: false, http: false, ws: true, stats: false })
// Warnings are about single peers; under load they would drown the log.
server.on('warning', () => {})
server.on('error', error => {
  console.error(error)
  process.exit(1)
})
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`ws://127.0.0.1:${server.ws.address().port}`)
})
