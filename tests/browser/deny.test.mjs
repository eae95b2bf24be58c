// Infohashes that the tracker refuses.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, newPeerId, running, until } from './harness.mjs'

const reason = 'Not served here: ask the owner (é).'
const [withReason, without, allowed] = [hex20(), hex20(), hex20()]
const lab = new Lab()
const skip = running ? 'TRACKER_URL is set: the deny list of a running tracker is not known' : false

if (!skip) {
  before(() => lab.start({ deny: { [withReason]: reason, [without]: '' } }))
  afterEach(() => lab.clean())
  after(() => lab.stop())
}

test('a refused infohash gives the reason as a warning; the socket stays of use', { skip }, async () => {
  const [page, other] = [await lab.open('bittorrent-tracker'), await lab.open('bittorrent-tracker')]
  const start = (peer, name, infoHash) =>
    peer.page.evaluate(o => startClient(o), { name, announce: lab.ws, infoHash, peerId: newPeerId() })
  const log = (peer, name) => peer.page.evaluate(n => clients[n].log, name)

  await start(page, 'reason', withReason)
  await start(page, 'without', without)
  for (const name of ['reason', 'without']) {
    await until('a warning', async () => (await log(page, name)).warnings.length > 0)
  }
  assert.deepEqual((await log(page, 'reason')).warnings, [reason])
  const [general, ...more] = (await log(page, 'without')).warnings
  assert.match(general, /\w+/)
  assert.doesNotMatch(general, /invalid action/)
  assert.deepEqual(more, [])

  await start(page, 'allowed', allowed)
  await until('the allowed one is announced', async () => (await log(page, 'allowed')).updates.length > 0)
  await start(other, 'allowed', allowed)
  for (const peer of [page, other]) {
    await until('the two connect', async () => (await log(peer, 'allowed')).received.length > 0)
    assert.deepEqual((await log(peer, 'allowed')).warnings, [])
  }
  assert.deepEqual((await log(page, 'reason')).updates, [])
  assert.deepEqual(page.sockets.map(socket => socket.closed), [false], 'one socket, and open')
})
