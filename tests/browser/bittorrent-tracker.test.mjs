// npm bittorrent-tracker's Client (WebTorrent's own tracker client).
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, newPeerId, until } from './harness.mjs'

const lab = new Lab()
before(() => lab.start())
afterEach(() => lab.clean())
after(() => lab.stop())

const open = () => lab.open('bittorrent-tracker')
const start = (peer, options) =>
  peer.page.evaluate(o => startClient(o), { name: 'a', announce: lab.ws, ...options })
const log = (peer, name = 'a') => peer.page.evaluate(n => clients[n].log, name)
const call = (peer, method, argument, name = 'a') =>
  peer.page.evaluate(([n, m, a]) => { clients[n].client[m](a) }, [name, method, argument])
const announced = (peer, name) =>
  until('the tracker answers the announce', async () => (await log(peer, name)).updates.length > 0)

/** Both have met each other by their ids and got each other's greeting. */
async function meet (one, other) {
  for (const [me, you] of [[one, other], [other, one]]) {
    await until(`${me.id} hears ${you.id}`, async () =>
      (await log(me.peer, me.name)).received.some(({ from, text }) => from === you.id && text === you.say))
    const { peers, warnings, errors } = await log(me.peer, me.name)
    assert.deepEqual([...new Set(peers)], [you.id], 'the peers met')
    assert.deepEqual([warnings, errors], [[], []])
  }
}

test('two pages meet and talk both ways', async () => {
  const [pageA, pageB] = [await open(), await open()]
  const infoHash = hex20()
  const a = { peer: pageA, id: newPeerId(), say: 'greetings from A' }
  const b = { peer: pageB, id: newPeerId(), say: 'greetings from B ' + 'é'.repeat(5000) }
  await start(a.peer, { infoHash, peerId: a.id, say: a.say })
  await announced(a.peer)
  await start(b.peer, { infoHash, peerId: b.id, say: b.say })
  await meet(a, b)
  const { updates } = await log(b.peer)
  assert.equal(updates[0].incomplete, 2)
  assert.equal(updates[0].complete, 0)
  assert.ok(updates[0].interval > 0)
})

test('ids with every byte value and with NULs survive', async () => {
  const [pageA, pageB] = [await open(), await open()]
  const infoHash = '00017f80ff22275c0a0d09c3a9e280a800fffe00'
  const a = { peer: pageA, id: '00000000808182838485ff22275c0a0d7f9fa0ad', say: 'from A' }
  const b = { peer: pageB, id: 'ffffffffc3a9efbbbfedb1bf00efbfbdd83dde00', say: 'from B' }
  await start(a.peer, { infoHash, peerId: a.id, say: a.say })
  await announced(a.peer)
  await start(b.peer, { infoHash, peerId: b.id, say: b.say })
  await meet(a, b)
})

test('three swarms on one socket each meet their own page', async () => {
  const hub = await open()
  const hubId = newPeerId()
  const swarms = []
  for (const name of ['x', 'y', 'z']) {
    const infoHash = hex20()
    await start(hub, { name, infoHash, peerId: hubId, say: `hub in ${name}` })
    await announced(hub, name)
    swarms.push({ name, infoHash })
  }
  for (const { name, infoHash } of swarms) {
    const peer = await open()
    const other = { peer, id: newPeerId(), say: `member of ${name}` }
    await start(peer, { infoHash, peerId: other.id, say: other.say })
    await meet({ peer: hub, name, id: hubId, say: `hub in ${name}` }, other)
  }
  assert.equal(hub.sockets.length, 1, 'one socket for three swarms')
  assert.equal(hub.sockets[0].closed, false)

  // One of them leaves; the others stay on the socket.
  await call(hub, 'stop', undefined, 'x')
  await until('the leaver is answered', async () => (await log(hub, 'x')).updates.length === 2)
  assert.deepEqual((await log(hub, 'x')).updates[1].incomplete, 1)
  await call(hub, 'destroy', undefined, 'x')
  await call(hub, 'update', undefined, 'y')
  await until('another swarm is still served', async () => (await log(hub, 'y')).updates.length === 2)
  assert.equal((await log(hub, 'y')).updates[1].incomplete, 2)
  assert.deepEqual(hub.sockets.map(socket => socket.closed), [false])
})

/** Announces again until the tracker's counts are these. */
async function counts (peer, complete, incomplete) {
  await until(`counts of ${complete} complete and ${incomplete} incomplete`, async () => {
    const { updates } = await log(peer)
    const last = updates.at(-1)
    if (last?.complete === complete && last?.incomplete === incomplete) return true
    await call(peer, 'update')
    await until('the announce is answered', async () => (await log(peer)).updates.length > updates.length)
  })
}

test('counts follow: seeds, completion, stop, and a page that closes', async () => {
  const infoHash = hex20()
  const [stays, closes, completes, stops] = [await open(), await open(), await open(), await open()]
  await start(stays, { infoHash, peerId: newPeerId() })
  await counts(stays, 0, 1)
  await start(closes, { infoHash, peerId: newPeerId(), left: 0 })
  await counts(stays, 1, 1)
  await start(completes, { infoHash, peerId: newPeerId() })
  await counts(stays, 1, 2)
  await completes.page.evaluate(() => {
    clients.a.left = 0
    clients.a.client.complete()
  })
  await counts(stays, 2, 1)
  await start(stops, { infoHash, peerId: newPeerId() })
  await counts(stays, 2, 2)
  await closes.close()
  await counts(stays, 1, 2)
  await call(stops, 'stop')
  await counts(stays, 1, 1)
  assert.deepEqual((await log(stays)).errors, [])
})

test('scrape: one infohash, a list, and an unknown one', async () => {
  const [infoHash, other, unknown] = [hex20(), hex20(), hex20()]
  const [seed, leech] = [await open(), await open()]
  await start(seed, { infoHash, peerId: newPeerId(), left: 0 })
  await announced(seed)
  await start(leech, { infoHash, peerId: newPeerId() })
  await announced(leech)
  await start(leech, { name: 'b', infoHash: other, peerId: newPeerId() })
  await announced(leech, 'b')

  const scraper = await open()
  await start(scraper, { infoHash, peerId: newPeerId(), start: false })
  await call(scraper, 'scrape')
  const scrapes = number => until(`${number} scrape results`, async () => {
    const { scrapes } = await log(scraper)
    return scrapes.length >= number && scrapes
  })
  const [one] = await scrapes(1)
  assert.equal(one.infoHash, infoHash)
  assert.deepEqual([one.complete, one.incomplete], [1, 1])

  await call(scraper, 'scrape', { infoHash: [infoHash, other, unknown] })
  const list = Object.fromEntries((await scrapes(4)).slice(1).map(s => [s.infoHash, [s.complete, s.incomplete]]))
  assert.deepEqual(list, { [infoHash]: [1, 1], [other]: [0, 1], [unknown]: [0, 0] })

  // Scraping made nobody a member, and Client.scrape gives one object.
  const result = await scraper.page.evaluate(([announce, infoHash]) => new Promise((resolve, reject) => {
    Client.scrape({ announce, infoHash, rtcConfig: { iceServers: [] } }, (error, data) => error ? reject(error) : resolve(data))
  }), [lab.ws, unknown])
  assert.deepEqual([result.complete, result.incomplete, result.downloaded], [0, 0, 0])
  assert.deepEqual((await log(scraper)).warnings, [])
})

test('a peer id comes back at once after its page crashed', async () => {
  const infoHash = hex20()
  const lost = newPeerId()
  const [crashes, back, third] = [await open(), await open(), await open()]
  await start(crashes, { infoHash, peerId: lost, say: 'before the crash' })
  await announced(crashes)
  const crash = crashes.page.waitForEvent('crash')
  await crashes.page.goto('chrome://crash').catch(() => {})
  await crash
  const again = { peer: back, id: lost, say: 'after the crash' }
  await start(back, { infoHash, peerId: lost, say: again.say })
  await announced(back)
  const c = { peer: third, id: newPeerId(), say: 'from C' }
  await start(third, { infoHash, peerId: c.id, say: c.say })
  await meet(again, c)
  await counts(third, 0, 2)
})
