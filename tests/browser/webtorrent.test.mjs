// npm webtorrent: one page seeds a file, others download it.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Lab, newPeerId, until } from './harness.mjs'

const lab = new Lab()
before(() => lab.start())
afterEach(() => lab.clean())
after(() => lab.stop())

const seed = (peer, size) => peer.page.evaluate(async ([announce, size]) => {
  globalThis.digest = async data =>
    [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].map(byte => byte.toString(16).padStart(2, '0')).join('')
  const data = new Uint8Array(size)
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(data.subarray(at, Math.min(size, at + 65536)))
  const torrent = await new Promise(resolve =>
    client.seed(new File([data], 'some file é.bin'), { announce: [announce] }, resolve))
  return { magnet: torrent.magnetURI, infoHash: torrent.infoHash, announce: torrent.announce, sha: await digest(data) }
}, [lab.ws, size])

const download = (peer, id, options = {}) => peer.page.evaluate(async ([id, options]) => {
  const torrent = client.add(id, options)
  await new Promise((resolve, reject) => {
    torrent.on('done', resolve)
    torrent.on('error', reject)
  })
  const data = await torrent.files[0].arrayBuffer()
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', data))
  return {
    name: torrent.files[0].name,
    size: data.byteLength,
    sha: [...sum].map(byte => byte.toString(16).padStart(2, '0')).join('')
  }
}, [id, options])

test('a seeded file is downloaded by magnet link and by infohash; counts follow', { timeout: 120_000 }, async () => {
  const size = 300_000
  const [seeder, byMagnet, byHash] = [await lab.open('webtorrent'), await lab.open('webtorrent'), await lab.open('webtorrent')]
  const { magnet, infoHash, announce, sha } = await seed(seeder, size)
  assert.deepEqual(announce, [lab.ws], 'only this tracker')

  const watcher = await lab.open('bittorrent-tracker')
  await watcher.page.evaluate(o => startClient(o),
    { name: 'a', announce: lab.ws, infoHash, peerId: newPeerId(), start: false })
  const counts = (complete, incomplete) => until(`scrape gives ${complete}, ${incomplete}`, async () => {
    const before = await watcher.page.evaluate(() => {
      clients.a.client.scrape()
      return clients.a.log.scrapes.length
    })
    const last = await until('a scrape result', () =>
      watcher.page.evaluate(n => clients.a.log.scrapes.length > n && clients.a.log.scrapes.at(-1), before))
    return last.complete === complete && last.incomplete === incomplete
  })
  await counts(1, 0)

  assert.deepEqual(await download(byMagnet, magnet), { name: 'some file é.bin', size, sha })
  await counts(2, 0)
  assert.deepEqual(await download(byHash, infoHash, { announce: [lab.ws] }), { name: 'some file é.bin', size, sha })
  await counts(3, 0)

  // A client that is destroyed says 'stopped' and waits for the answer.
  await byMagnet.page.evaluate(() => new Promise((resolve, reject) => client.destroy(error => error ? reject(error) : resolve())))
  await counts(2, 0)
  await seeder.close()
  await counts(1, 0)

  for (const peer of [byMagnet, byHash]) {
    assert.deepEqual((await peer.page.evaluate(() => log)).errors, [])
    assert.equal(peer.sockets.length, 1, 'one socket')
  }
})
