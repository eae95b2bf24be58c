// Browser peers in Firefox: with each other, with Chromium and with native peers.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { startFirefox } from './firefox.mjs'
import { Lab, hex20, pagePeer, standIn, startPeer } from './harness.mjs'

const skip = standIn ? 'the stand-in serves no peer' : false
const lab = new Lab()
const open = []
let firefox
if (skip) {
  console.log(`firefox.test.mjs skipped: ${skip}`)
} else {
  before(async () => {
    await lab.start()
    firefox = await startFirefox()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map(peer => peer.close()))
    await lab.clean()
    assert.deepEqual(firefox.errors, [], 'errors in a page')
  })
  after(async () => {
    await firefox?.stop()
    await lab.stop()
  })
}

async function tab (topic, options) {
  const opened = await firefox.open(`${lab.site.url}/peer.html#${lab.tracker.http}`)
  open.push(opened)
  return pagePeer(opened, topic, options)
}

/** Both ways: broadcast, direct, 256 KiB. */
async function talk (left, right) {
  await left.meets(right.address)
  await right.meets(left.address)
  for (const [from, to] of [[left, right], [right, left]]) {
    await from.send(`from ${from.address}`)
    assert.equal((await to.hears(`from ${from.address}`)).verified, true)
    assert.equal((await from.send(to.address, `only for ${to.address}`)).result, 'delivered')
    assert.equal((await to.hears(`only for ${to.address}`)).direct, true)
    const { sha256 } = await from.sendBytes(from === left ? 1 : 2, 256 << 10)
    assert.equal((await to.hears(sha256)).bytes, 256 << 10)
  }
}

test('two Firefox tabs talk, and one notices that the other is closed', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const [left, right] = [await tab(topic), await tab(topic)]
  await talk(left, right)
  open.splice(open.findIndex(({ page }) => page === left.page), 1)
  await left.close()
  await right.loses(left.address, 20_000)
})

test('Firefox and Chromium talk', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  await talk(await tab(topic), await lab.browserPeer(topic))
})

test('Firefox and a native peer talk', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const peer = await startPeer(lab.ws, topic)
  try {
    const page = await tab(topic)
    await page.meets(peer.address)
    await peer.event('connect', { peer: page.address })
    await page.send('from the tab')
    await peer.event('message', { data: 'from the tab', verified: true })
    peer.say('from the native peer')
    await page.hears('from the native peer', peer.address)
    assert.equal((await page.send(peer.address, 'only you')).result, 'delivered')
    peer.say(`/msg ${page.address} you too`)
    assert.equal((await peer.event('receipt', { to: page.address })).result, 'delivered')
    const { sha256 } = await page.sendBytes(3, 256 << 10)
    assert.equal((await peer.event('message', { encoding: 'hex' })).data.length, 2 * (256 << 10), sha256)
  } finally {
    await peer.stop()
  }
})
