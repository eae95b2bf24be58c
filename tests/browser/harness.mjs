// What every browser test needs: a tracker, a web site on loopback with the
// client libraries, a Chromium, and pages whose errors and WebSocket frames
// are kept. Switches are described in README.md.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { Recorder } from './record.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const modules = path.join(here, 'node_modules')
export const DEADLINE = 30_000
export const standIn = process.env.TRACKER_BIN === 'standin'
export const running = process.env.TRACKER_URL || ''

export const hex20 = () => randomBytes(20).toString('hex')
/** A peer id as clients make them: `-XX0001-` and twelve random digits, in hex. */
export const newPeerId = (prefix = '-BT0001-') =>
  Buffer.from(prefix + String(Math.random()).slice(2, 14).padEnd(12, '0'), 'latin1').toString('hex')

/** Polls `probe` until it gives something true; fails with what it last gave. */
export async function until (what, probe, ms = DEADLINE) {
  const end = Date.now() + ms
  for (;;) {
    const value = await probe()
    if (value) return value
    if (Date.now() > end) assert.fail(`not within ${ms} ms: ${what}`)
    await delay(50)
  }
}

// ---------------------------------------------------------------- tracker

/**
 * Starts the tracker: `{ ws, http, pid, stop() }`. `deny` maps hex infohashes
 * to messages ('' for none); `host` is the address it listens on, `args` are
 * more of its options. With TRACKER_URL the running one is used as it is.
 */
export async function startTracker ({ deny, port = 0, host = '127.0.0.1', args = [] } = {}) {
  if (running) {
    assert.ok(!deny, 'a running tracker (TRACKER_URL) cannot be given a deny list')
    const http = running.replace(/^ws/, 'http').replace(/\/*$/, '/')
    return { ws: running, http, pid: null, stop: async () => {} }
  }
  return standIn ? startStandIn(deny) : startBinary(deny, `${host}:${port}`, args)
}

async function startStandIn (deny) {
  const { default: Server } = await import('bittorrent-tracker/server')
  const filter = deny && ((infoHash, _params, cb) =>
    cb(infoHash in deny ? new Error(deny[infoHash] || 'denied') : null))
  const server = new Server({ udp: false, filter })
  server.on('error', error => { throw error })
  server.on('warning', () => {}) // what clients get wrong, among it every denial
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.http.address()
  return {
    ws: `ws://127.0.0.1:${port}`,
    http: `http://127.0.0.1:${port}/`,
    pid: null,
    stop: async () => {
      server.http.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }
}

async function startBinary (deny, listen, more) {
  const bin = path.resolve(here, process.env.TRACKER_BIN || '../../target/debug/tracker')
  assert.ok(existsSync(bin), `no tracker at ${bin}: build it, or set TRACKER_BIN (see README.md)`)
  const args = ['--listen', listen, ...more]
  let dir
  if (deny) {
    dir = await mkdtemp(path.join(tmpdir(), 'tracker-deny-'))
    const file = path.join(dir, 'deny.txt')
    await writeFile(file, Object.entries(deny).map(([hash, text]) => `${hash} ${text}`.trim() + '\n').join(''))
    args.push('--deny-file', file)
  }
  const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let ended = null
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => { output += text })
  }
  child.once('error', error => { ended = String(error) })
  child.once('exit', (code, signal) => { ended = `exit code ${code}, signal ${signal}` })
  const last = () => output.slice(-2000)
  const stop = async () => {
    const early = ended
    if (!early) {
      child.kill('SIGTERM')
      const end = Date.now() + 10_000
      while (!ended && Date.now() < end) await delay(20)
      if (!ended) child.kill('SIGKILL')
    }
    if (dir) await rm(dir, { recursive: true, force: true })
    assert.equal(early, null, `the tracker ended by itself: ${last()}`)
    assert.ok(ended, `the tracker did not end within 10 s of SIGTERM: ${last()}`)
  }
  try {
    return await until('the tracker prints its two URLs', () => {
      assert.equal(ended, null, `the tracker ended: ${last()}`)
      const [http] = /http:\/\/[\d.]+:\d+\//.exec(output) ?? []
      const [ws] = /ws:\/\/[\d.]+:\d+(\/[\w./-]*)?(?=\W)/.exec(output) ?? []
      return http && ws && { ws, http, pid: child.pid, stop }
    })
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${error.message}\n${last()}`)
  }
}

// ---------------------------------------------------------------- native peers

/** Starts `peer --json` on loopback: its events in `events`, lines to it by `say`. */
export async function startPeer (tracker, topic, ...args) {
  const bin = path.resolve(here, process.env.PEER_BIN || '../../target/debug/peer')
  assert.ok(existsSync(bin), `no peer at ${bin}: build it, or set PEER_BIN (see README.md)`)
  const child = spawn(bin, [topic, '--json', '--tracker', tracker, '--bind', '127.0.0.1', ...(process.env.PEER_LOG ? ['--log-level', process.env.PEER_LOG] : []), ...args],
    { stdio: ['pipe', 'pipe', 'pipe'] })
  const peer = { events: [], errors: '', ended: null, child }
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    peer.events.push(...lines.map(line => JSON.parse(line)))
  })
  child.stderr.setEncoding('utf8').on('data', text => { peer.errors += text })
  child.once('exit', (code, signal) => { peer.ended = { code, signal } })
  peer.say = line => child.stdin.write(line + '\n')
  peer.all = event => peer.events.filter(other => other.event === event)
  peer.event = (event, matches) => until(`${event} of a native peer`, () => {
    assert.equal(peer.ended, null, `the peer ended: ${peer.errors}`)
    return peer.all(event).find(other => Object.entries(matches ?? {}).every(([key, value]) => other[key] === value))
  })
  /** Closed standard input is a way to leave. */
  peer.stop = async () => {
    child.stdin.end()
    await until('the peer ends', () => peer.ended).catch(error => {
      child.kill('SIGKILL')
      throw error
    })
    if (process.env.PEER_LOG) console.error(peer.errors)
    assert.deepEqual(peer.ended, { code: 0, signal: null }, peer.errors)
  }
  peer.address = (await peer.event('ready')).address
  return peer
}

// ---------------------------------------------------------------- the site

// Bundled for the browser here, as an application's own build would do it.
const bundles = {
  '/lib/bittorrent-tracker.js': () => build({
    stdin: { contents: "export { default } from 'bittorrent-tracker/client'", resolveDir: here },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'chrome109',
    define: { global: 'globalThis', 'process.browser': 'true' },
    write: false,
    logLevel: 'warning'
  }).then(result => result.outputFiles[0].contents)
}
// The browser builds that the packages ship.
const files = {
  '/lib/webtorrent.js': path.join(modules, 'webtorrent/dist/webtorrent.min.js'),
  '/lib/p2pt.js': path.join(modules, 'p2pt/dist/p2pt.iife.js'),
  '/bittorrent-tracker.html': path.join(here, 'pages/bittorrent-tracker.html'),
  '/webtorrent.html': path.join(here, 'pages/webtorrent.html'),
  '/p2pt.html': path.join(here, 'pages/p2pt.html'),
  '/original.html': path.join(here, 'pages/original.html'),
  '/original.js': path.join(here, 'pages/original.js'),
  '/peer.html': path.join(here, 'pages/peer.html'),
  '/peer.js': path.join(here, 'pages/peer.js')
}

async function startSite () {
  const made = {}
  const written = {}
  const serve = async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost')
    try {
      const body = pathname in bundles
        ? await (made[pathname] ??= bundles[pathname]())
        : pathname in files ? await readFile(files[pathname]) : written[pathname] ?? null
      const type = pathname.endsWith('.html') ? 'text/html' : 'text/javascript'
      response.writeHead(body ? 200 : 404, { 'content-type': `${type}; charset=utf-8` }).end(body ?? 'none')
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  }
  async function listen (address) {
    const server = createServer(serve)
    await new Promise(resolve => server.listen(0, address, resolve))
    return {
      url: `http://${address}:${server.address().port}`,
      stop: async () => {
        server.closeAllConnections()
        await new Promise(resolve => server.close(resolve))
      }
    }
  }
  return {
    ...await listen('127.0.0.1'),
    /** The same site on another address of this machine. */
    listen,
    /** Serves this text under this path as well. */
    write: (pathname, text) => { written[pathname] = text }
  }
}

// ---------------------------------------------------------------- browser

/** What keeps the timers of hidden pages on time and pages that were left out of memory; Playwright asks for it. */
const PUNCTUAL = ['--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding', '--disable-back-forward-cache']

/** `throttled`: hidden pages are slowed down, and pages that were left are kept, as a user's are. `also`: another address of this machine that is reached. */
export function launch ({ throttled = false, also, ...options } = {}) {
  return chromium.launch({
    ...options,
    ignoreDefaultArgs: throttled ? PUNCTUAL : [],
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      // WebRTC over loopback with plain addresses (no multicast DNS names).
      '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
      // Nothing but this machine is reached.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' + (also ? `, EXCLUDE ${also}` : '')
    ]
  })
}

// Runs in every page before its scripts. It keeps WebRTC on loopback: no ICE
// server can be given but one there, and of a remote description only loopback
// candidates are used, so nothing is ever sent to another address; but to the
// one of this machine that is allowed.
function loopbackOnly (also) {
  const Real = globalThis.RTCPeerConnection
  const here = / (\S+) \d+ typ (?:host|relay)/
  globalThis.RTCPeerConnection = class RTCPeerConnection extends Real {
    constructor (config, ...rest) {
      // An address of a kind that is not private has peers look for STUN servers.
      if (also) config = { ...config, iceServers: [] }
      const servers = (config?.iceServers ?? []).flatMap(({ urls }) => urls)
      if (servers.some(url => !/^turn:127\.0\.0\.1[:?]/.test(url))) {
        const error = new Error('ICE servers given: ' + JSON.stringify(config.iceServers))
        console.error(String(error))
        throw error
      }
      super(config, ...rest)
    }

    setRemoteDescription (description, ...rest) {
      const sdp = description.sdp.split(/(?<=\n)/)
        .filter(line => !line.startsWith('a=candidate:') || ['127.0.0.1', '::1', also].includes(here.exec(line)?.[1])).join('')
      return super.setRemoteDescription({ type: description.type, sdp }, ...rest)
    }
  }
}

/**
 * A peer in a page that was opened, by `page.evaluate` alone, so that any browser will do. The page's own
 * globals are those of pages/peer.js.
 */
export async function pagePeer (opened, topic, options = {}) {
  const { page } = opened
  const address = await page.evaluate(([topic, options]) => join(topic, options), [topic, options])
  const log = () => page.evaluate(() => log)
  const heard = async (text, from) => (await log()).messages.filter(message =>
    message.text === text && (!from || message.from === from))
  return {
    ...opened,
    address,
    log,
    /** Messages with this text, or with this SHA-256. */
    heard,
    hears: (text, from) => until(`${address.slice(0, 6)} hears ${text.slice(0, 60)}`, async () => (await heard(text, from))[0]),
    meets: peer => until(`${address.slice(0, 6)} meets ${peer.slice(0, 6)}`, () =>
      page.evaluate(peer => easypeers.peers().some(({ address }) => address === peer), peer)),
    loses: (peer, ms) => until(`${address.slice(0, 6)} loses ${peer.slice(0, 6)}`, async () =>
      (await log()).disconnected.includes(peer), ms),
    send: (...args) => page.evaluate(args => easypeers.send(...args), args),
    /** Sends bytes that look like nothing; their SHA-256, and the receipt of a direct message. */
    sendBytes: (seed, length, to) => page.evaluate(async ([seed, length, to]) => {
      const data = bytes(seed, length)
      const result = await (to ? easypeers.send(to, data) : easypeers.send(data))
      return { sha256: await sha256(data), result }
    }, [seed, length, to]),
    links: () => page.evaluate(() => easypeers.wireCount),
    stats: () => page.evaluate(() => easypeers.stats())
  }
}

/**
 * A page in a window of its own that Playwright does not know, since it keeps the pages that it knows visible: with
 * `hide` another tab of the window comes to the front. As Playwright's page as far as `pagePeer` needs it.
 */
async function openHideable (browser, url) {
  const session = await browser.newBrowserCDPSession()
  const { browserContextId } = await session.send('Target.createBrowserContext')
  await session.send('Browser.grantPermissions', { browserContextId, permissions: ['videoCapture', 'audioCapture'] })
  const { targetId } = await session.send('Target.createTarget', { url: 'about:blank', browserContextId })
  const { sessionId } = await session.send('Target.attachToTarget', { targetId, flatten: false })
  const waiting = new Map()
  const errors = []
  let id = 0
  session.on('Target.receivedMessageFromTarget', ({ message }) => {
    const { id, result, error, method, params } = JSON.parse(message)
    if (method === 'Runtime.exceptionThrown') errors.push(`page: ${JSON.stringify(params.exceptionDetails)}`)
    const waits = waiting.get(id)
    waiting.delete(id)
    error ? waits?.reject(new Error(error.message)) : waits?.resolve(result)
  })
  const ask = (method, params = {}) => new Promise((resolve, reject) => {
    waiting.set(++id, { resolve, reject })
    session.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id, method, params }) }).catch(reject)
  })
  const evaluate = async (call, argument) => {
    const expression = `(${call})(${JSON.stringify(argument) ?? ''})`
    const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }
  await ask('Runtime.enable')
  await ask('Page.enable')
  await ask('Page.addScriptToEvaluateOnNewDocument', { source: `(${loopbackOnly})()` })
  await ask('Page.navigate', { url })
  await until('the page is ready', () => evaluate(() => globalThis.ready === true).catch(() => false))
  const hide = async () => {
    const { targetId } = await session.send('Target.createTarget', { url: 'about:blank', browserContextId })
    await session.send('Target.activateTarget', { targetId })
    await until('the page is hidden', () => evaluate(() => document.hidden))
  }
  return {
    page: { evaluate },
    errors,
    sockets: [],
    hide,
    close: () => session.send('Target.disposeBrowserContext', { browserContextId })
  }
}

/** One test file's tracker, site and browser. */
export class Lab {
  pages = []
  recorder = new Recorder()

  async start ({ throttled, ...options } = {}) {
    try {
      this.tracker = await startTracker(options)
      this.site = await startSite()
      this.browser = await launch({ throttled })
    } catch (error) {
      await this.stop().catch(() => {})
      throw error
    }
    this.ws = this.tracker.ws
    return this
  }

  /** A page of its own browser context with `client`'s library in it; `script` runs before it. */
  async open (client, fragment = '', script = null) {
    const peer = await this.openUrl(`${this.site.url}/${client}.html${fragment}`, { script }, client)
    await peer.page.waitForFunction(() => globalThis.ready === true, null, { timeout: DEADLINE })
    return peer
  }

  async openUrl (url, { also, script, ...contextOptions } = {}, client = null) {
    const context = await this.browser.newContext(contextOptions)
    // Being allowed a camera is what makes Chromium list loopback for WebRTC.
    if (client) await context.grantPermissions(['camera', 'microphone', 'clipboard-read', 'clipboard-write'])
    await context.addInitScript(loopbackOnly, also)
    if (script) await context.addInitScript(script)
    const page = await context.newPage()
    page.setDefaultTimeout(DEADLINE)
    const peer = { page, errors: [], sockets: [], close: () => context.close() }
    page.on('console', message => {
      if (message.type() === 'error') peer.errors.push(`console: ${message.text()} (${message.location().url})`)
    })
    page.on('pageerror', error => peer.errors.push(`page: ${error.stack ?? error}`))
    page.on('websocket', socket => {
      const seen = { url: socket.url(), closed: false }
      peer.sockets.push(seen)
      socket.on('close', () => { seen.closed = true })
      socket.on('socketerror', error => peer.errors.push(`socket: ${error}`))
      socket.on('framesent', ({ payload }) => this.recorder.add(client, 'client-to-tracker', payload))
      socket.on('framereceived', ({ payload }) => this.recorder.add(client, 'tracker-to-client', payload))
    })
    this.pages.push(peer)
    await page.goto(url)
    return peer
  }

  /** A page with a browser peer in it that can be hidden; its timers are late then if the lab is `throttled`. */
  async hideablePeer (topic, options) {
    const opened = await openHideable(this.browser, `${this.site.url}/peer.html#${this.tracker.http}`)
    this.pages.push(opened)
    return pagePeer(opened, topic, options)
  }

  /** The tracker's own page, with this topic. */
  ownPage (topic, contextOptions) {
    return this.openUrl(`${this.tracker.http}#${topic}`, contextOptions, 'own page')
  }

  /** A page with a browser peer in it, `script` before it; calls on it run in the page. */
  async browserPeer (topic, options, script) {
    return pagePeer(await this.open('peer', '#' + this.tracker.http, script), topic, options)
  }

  /** Ends one test: closes its pages, then fails if any of them met an error. */
  async clean () {
    const pages = this.pages.splice(0)
    await Promise.all(pages.map(peer => peer.close()))
    for (const peer of pages) {
      assert.deepEqual(peer.errors, [], 'errors in a page')
      for (const { url } of peer.sockets) {
        assert.equal(new URL(url).host, new URL(this.ws).host, 'a page spoke to another tracker')
      }
    }
  }

  async stop () {
    await this.browser?.close()
    await this.site?.stop()
    await this.tracker?.stop()
    await this.recorder.write(standIn ? "npm bittorrent-tracker 11.2.3's own server" : 'this tracker')
  }
}
