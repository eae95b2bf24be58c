// Starts npm's bittorrent-tracker for compare.sh: WebSockets only, on loopback.
// Usage: bittorrent-tracker.mjs [--port N]; without it the system chooses.
import { parseArgs } from 'node:util'
// Not by its name: what compare.sh installs lies in a folder that Node does not search.
import Server from './.tools/node_modules/bittorrent-tracker/server.js'

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } })
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
