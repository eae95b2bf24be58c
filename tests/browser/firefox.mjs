// A headless Firefox, driven over WebDriver BiDi: a profile of its own, pages as `page.evaluate` alone, so that
// the harness's `pagePeer` runs in them. Nothing but loopback is reached.
// Source: W3C WebDriver BiDi.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import WebSocket from 'ws'
import { DEADLINE, until } from './harness.mjs'

const preferences = {
  // WebRTC over loopback with plain addresses (no multicast DNS names).
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.peerconnection.ice.link_local': true,
  // Nothing but this machine is reached: everything else goes to a proxy that is not there.
  'network.proxy.type': 1,
  'network.proxy.http': '127.0.0.1',
  'network.proxy.http_port': 9,
  'network.proxy.ssl': '127.0.0.1',
  'network.proxy.ssl_port': 9,
  'network.proxy.no_proxies_on': '127.0.0.1',
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
  'app.normandy.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'extensions.update.enabled': false
}

/** Starts it: `{ open(url), errors, stop() }`. */
export async function startFirefox () {
  const profile = await mkdtemp(path.join(tmpdir(), 'firefox-'))
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
  await writeFile(path.join(profile, 'user.js'), lines.join(''))
  const child = spawn(process.env.FIREFOX || '/usr/bin/firefox-esr',
    ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, MOZ_DISABLE_CONTENT_SANDBOX: '1', HOME: profile } })
  let output = ''
  let ended = false
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { output += text })
  child.once('exit', () => { ended = true })
  child.once('error', error => { ended = true; output += error })
  const errors = []

  const url = await until('Firefox listens', () => {
    assert.ok(!ended, `Firefox ended: ${output.slice(-2000)}`)
    return /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(output)?.[1]
  }, 2 * DEADLINE)
  const socket = new WebSocket(`${url}/session`)
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  const waiting = new Map()
  let id = 0
  socket.on('message', text => {
    const message = JSON.parse(text)
    if (message.type === 'event' && message.method === 'log.entryAdded' && message.params.level === 'error') {
      errors.push(message.params.text)
    }
    const waits = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.type === 'success') waits?.resolve(message.result)
    if (message.type === 'error') waits?.reject(new Error(`${message.error}: ${message.message}`))
  })
  const ask = (method, params) => new Promise((resolve, reject) => {
    waiting.set(++id, { resolve, reject })
    socket.send(JSON.stringify({ id, method, params }))
  })

  await ask('session.new', { capabilities: {} })
  await ask('session.subscribe', { events: ['log.entryAdded'] })

  async function open (address) {
    const { context } = await ask('browsingContext.create', { type: 'tab' })
    await ask('browsingContext.navigate', { context, url: address, wait: 'complete' })
    /** As Playwright's: a function and one argument that JSON can hold. */
    const evaluate = async (call, argument) => {
      const expression = `Promise.resolve((${call})(${argument === undefined ? '' : JSON.stringify(argument)})).then(value => JSON.stringify(value))`
      const answer = await ask('script.evaluate', { expression, target: { context }, awaitPromise: true })
      if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text)
      return answer.result.value === undefined ? undefined : JSON.parse(answer.result.value)
    }
    await until('the page is ready', () => evaluate(() => globalThis.ready === true))
    return { page: { evaluate }, close: () => ask('browsingContext.close', { context }) }
  }

  async function stop () {
    socket.close()
    child.kill('SIGTERM')
    await until('Firefox ends', () => ended).catch(() => child.kill('SIGKILL'))
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  }
  return { open, errors, stop }
}
