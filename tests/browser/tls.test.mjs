// A tracker with a certificate of its own (--tls-self-signed): a browser refuses it, is told to
// trust the authority as the tracker's page says, and then opens page and wss.
// Needs certutil (Debian's libnss3-tools).
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DEADLINE, hex20, launch, newPeerId, running, standIn, until } from './harness.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const skip = standIn || running ? 'needs a tracker of its own' : false
if (skip) console.log(`tls.test.mjs skipped: ${skip}`)
let home, tracker, base, fingerprint

before(async () => {
  if (skip) return
  home = await mkdtemp(path.join(tmpdir(), 'easypeers-tls-'))
  const bin = path.resolve(here, process.env.TRACKER_BIN || '../../target/debug/tracker')
  tracker = spawn(bin, ['--listen', '127.0.0.1:0', '--tls-self-signed', path.join(home, 'lan.pem')])
  let said = ''
  tracker.stdout.on('data', data => { said += data })
  await until('the tracker says its fingerprint', () => (fingerprint = said.match(/SHA-256 +(\S+)\n/)?.[1]))
  base = said.match(/https:\/\/127\.0\.0\.1:\d+\//)[0]
})

after(async () => {
  if (skip) return
  tracker.kill()
  await rm(home, { recursive: true, force: true })
})

/** The authority's certificate, as somebody who does not trust it yet gets it. */
const download = () => new Promise((resolve, reject) => {
  request(new URL('trust.crt', base), { rejectUnauthorized: false }, async response => {
    let text = ''
    for await (const chunk of response) text += chunk
    resolve(text)
  }).on('error', reject).end()
})

async function withBrowser (use) {
  const browser = await launch({ env: { ...process.env, HOME: home } })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(DEADLINE)
    await use(page)
  } finally {
    await browser.close()
  }
}

test('a browser that does not know the authority refuses the tracker', { skip }, () =>
  withBrowser(page => assert.rejects(page.goto(base), /ERR_CERT_AUTHORITY_INVALID/)))

test('once it is trusted, page and wss open without a warning', { skip }, async () => {
  const certificate = path.join(home, 'trust.crt')
  await writeFile(certificate, await download())
  const database = path.join(home, '.pki', 'nssdb')
  await mkdir(database, { recursive: true })
  execFileSync('certutil', ['-d', `sql:${database}`, '-N', '--empty-password'])
  execFileSync('certutil', ['-d', `sql:${database}`, '-A', '-t', 'C,,', '-n', 'easypeers', '-i', certificate])
  await withBrowser(async page => {
    await page.goto(base)
    const announced = await page.evaluate(([url, announce]) => new Promise((resolve, reject) => {
      const socket = new WebSocket(url)
      socket.onopen = () => socket.send(JSON.stringify(announce))
      socket.onmessage = message => resolve(JSON.parse(message.data))
      socket.onerror = () => reject(new Error('no WebSocket'))
    }), [base.replace('https', 'wss'), {
      action: 'announce',
      info_hash: Buffer.from(hex20(), 'hex').toString('latin1'),
      peer_id: Buffer.from(newPeerId(), 'hex').toString('latin1'),
      numwant: 0,
      left: 1,
      event: 'started'
    }])
    assert.equal(announced.incomplete, 1)
    // The page tells the way.
    await page.getByRole('link', { name: 'how devices learn to trust it' }).click()
    assert.equal(page.url(), new URL('trust', base).href)
    assert.equal(await page.locator('code').first().innerText(), fingerprint)
  })
})
