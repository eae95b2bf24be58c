// Keeps examples of what the real libraries and the tracker say to each other;
// with RECORD=1 writes them to shared/vectors/clients.json.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const target = path.join(here, '../../shared/vectors/clients.json')
const EACH = 2 // examples of one kind and client

const named = client => {
  const { version } = JSON.parse(readFileSync(path.join(here, 'node_modules', client, 'package.json'), 'utf8'))
  return `${client} ${version}`
}

function kindOf (direction, text) {
  const message = JSON.parse(text)
  if (message['failure reason'] !== undefined) return `failure of ${message.action}`
  if (message.action === 'scrape') {
    if (direction === 'tracker-to-client') return `scrape reply, ${Object.keys(message.files ?? {}).length} files`
    return Array.isArray(message.info_hash) ? 'scrape of a list' : 'scrape'
  }
  if (message.action !== 'announce') return `action ${message.action}`
  if (direction === 'tracker-to-client') {
    return message.offer ? 'offer relayed' : message.answer ? 'answer relayed' : 'announce reply'
  }
  if (message.answer) return 'announce answer'
  const event = message.event ?? 'without event'
  return `announce ${event}${message.offers?.length ? ' with offers' : ''}`
}

/** No address of this machine but loopback stays in an example. */
function withoutAddresses (text) {
  for (const { address, internal, family } of Object.values(networkInterfaces()).flat()) {
    if (!internal) text = text.replaceAll(address, family === 'IPv4' ? '192.0.2.1' : '2001:db8::1')
  }
  const allowed = /^(127\.0\.0\.1|::1|0\.0\.0\.0|192\.0\.2\.1|2001:db8::1|[0-9a-f-]+\.local)$/
  for (const [, address] of text.matchAll(/(?:candidate:\S+ \d+ \w+ \d+|IN IP[46]|raddr) ([^\s\\]+)/g)) {
    assert.match(address, allowed, 'an address in an example')
  }
  return text
}

export class Recorder {
  vectors = []

  add (client, direction, payload) {
    // Only what libraries of others say; ours has vectors of its own.
    if (!process.env.RECORD || !client || ['own page', 'peer', 'original'].includes(client)) return
    assert.equal(typeof payload, 'string', 'a binary frame')
    this.vectors.push({ client, direction, kind: kindOf(direction, payload), text: payload })
  }

  async write (tracker) {
    if (!process.env.RECORD || !this.vectors.length) return
    const mine = this.vectors.map(vector => ({ ...vector, client: named(vector.client), text: withoutAddresses(vector.text) }))
    const names = new Set(mine.map(vector => `${vector.client}|${vector.kind}`))
    let old = []
    try {
      old = JSON.parse(await readFile(target, 'utf8')).vectors
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
    // What this run saw takes the place of what was there of the same kind.
    const vectors = old.filter(vector => !names.has(`${vector.client}|${vector.kind}`))
    const count = {}
    const shapes = new Set()
    for (const vector of mine) {
      const name = `${vector.direction}|${vector.client}|${vector.kind}`
      const shape = name + Object.entries(JSON.parse(vector.text)).map(([key, value]) => `${key}:${typeof value}`)
      if (shapes.has(shape) || (count[name] ?? 0) >= EACH) continue
      shapes.add(shape)
      count[name] = (count[name] ?? 0) + 1
      vectors.push(vector)
    }
    const order = vector => `${vector.client}|${vector.direction}|${vector.kind}`
    vectors.sort((a, b) => order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0)
    const note = 'WebSocket text frames between real client libraries in Chromium pages and a tracker, ' +
      `recorded by tests/browser with RECORD=1; tracker-to-client frames are from ${tracker}. ` +
      'Whole frames; only addresses of the recording machine are replaced (192.0.2.1, 2001:db8::1).'
    const json = JSON.stringify({ note, vectors }, null, 1)
      .replace(/[\u007f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')) + '\n'
    assert.ok(json.length <= 100 * 1024, `${json.length} bytes of examples`)
    await writeFile(target, json)
  }
}
