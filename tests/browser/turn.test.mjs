// Pages that may use nothing but the TURN server that the tracker names, with credentials that it makes. Needs
// Debian's coturn.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Lab, hex20, standIn, startPeer, until } from './harness.mjs'

const program = process.env.TURNSERVER || '/usr/bin/turnserver'
const skip = standIn ? 'the stand-in names no TURN server' : existsSync(program) ? false : `no ${program}`
const lab = new Lab()
let coturn, folder, log = ''

/** A port of loopback that nothing uses. */
async function freePort () {
  const socket = createSocket('udp4')
  await new Promise(resolve => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address()
  await new Promise(resolve => socket.close(resolve))
  return port
}

if (skip) {
  console.log(`turn.test.mjs skipped: ${skip}`)
} else {
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'turn-'))
    const secret = path.join(folder, 'secret')
    await writeFile(secret, 'a secret of the test')
    const port = await freePort()
    const config = fileURLToPath(new URL('../../deploy/coturn/turnserver.conf', import.meta.url))
    coturn = spawn(program, ['-c', config, '--static-auth-secret=a secret of the test', `--listening-port=${port}`,
      `--pidfile=${path.join(folder, 'pid')}`, `--userdb=${path.join(folder, 'db')}`, '--realm=localhost', '--verbose',
      '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', '--allow-loopback-peers', '--allowed-peer-ip=127.0.0.1'],
    { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [coturn.stdout, coturn.stderr]) stream.setEncoding('utf8').on('data', text => { log += text })
    await lab.start({ args: ['--ice-server', `turn:127.0.0.1:${port}`, '--turn-secret-file', secret] })
  })
  after(async () => {
    coturn?.kill('SIGTERM')
    await lab.stop()
    await rm(folder, { recursive: true, force: true })
  })
}

test('a page and a native peer talk through the relay alone', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const tab = await lab.browserPeer(topic, { relayOnly: true })
  const peer = await startPeer(lab.ws, topic, '--relay-only')
  try {
    await tab.meets(peer.address)
    await tab.send('through the relay')
    await peer.event('message', { data: 'through the relay', from: tab.address })
    peer.say('and back')
    await tab.hears('and back')
    // The relay saw both, under names that the tracker made.
    await until('coturn has two relays', () =>
      log.split('ALLOCATE processed, success').length > 2 && log.includes(':easypeers>'))
  } finally {
    await peer.stop()
  }
  await lab.clean()
})

test('the page of the tracker uses it as well', { skip, timeout: 120_000 }, async () => {
  const asked = []
  const { page } = await lab.openUrl('about:blank', {}, 'own page')
  page.on('request', request => asked.push(new URL(request.url()).pathname))
  await page.addInitScript(() => {
    globalThis.given = []
    const Real = RTCPeerConnection
    globalThis.RTCPeerConnection = class extends Real {
      constructor (config) {
        super(config)
        given.push(config?.iceServers ?? [])
      }
    }
  })
  await page.goto(`${lab.tracker.http}#${hex20()}`)
  await until('it asked for servers', () => asked.includes('/ice.json'))
  await page.locator('#count').fill('1')
  await page.locator('#add').click()
  const [server] = await until('a connection has them', () => page.evaluate(() => given.find(servers => servers.length)))
  assert.match(server.urls.toString(), /^turn:127\.0\.0\.1:/)
  assert.match(server.username, /:easypeers$/)
  assert.ok(server.credential)
  await until('the peers in the page are linked', () => page.evaluate(() => easypeers.wireCount === 1))
  await lab.clean()
})
