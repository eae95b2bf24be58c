// Browser peers with each other and with native ones: pages of somebody else that load the peer from
// the tracker.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, standIn, startPeer, startTracker, until } from './harness.mjs'

const skip = standIn ? 'the stand-in serves no peer' : false
const lab = new Lab()
const natives = []
if (skip) {
  console.log(`mesh.test.mjs skipped: ${skip}`)
} else {
  before(() => lab.start())
  afterEach(async () => {
    await Promise.all(natives.splice(0).filter(({ ended }) => !ended).map(peer => peer.stop()))
    await lab.clean()
  })
  after(() => lab.stop())
}

async function native (topic, ...args) {
  const peer = await startPeer(lab.ws, topic, ...args)
  natives.push(peer)
  return peer
}

const sha256 = bytes => createHash('sha256').update(bytes).digest('hex')
const large = 256 << 10

test('two tabs talk', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const [left, right] = [await lab.browserPeer(topic), await lab.browserPeer(topic)]
  await left.meets(right.address)
  await right.meets(left.address)

  const id = await left.send('to everybody, ünd mehr 😀')
  const message = await right.hears('to everybody, ünd mehr 😀')
  assert.deepEqual([message.id, message.from, message.direct, message.verified, message.hops, message.binary],
    [id, left.address, false, true, 1, false])
  assert.ok(Math.abs(message.time - Date.now()) < 60_000, 'the time that it was sent')

  const receipt = await right.send(left.address, 'only you')
  assert.deepEqual([receipt.result, receipt.hops], ['delivered', 1])
  assert.ok(receipt.rtt > 0)
  assert.equal((await left.hears('only you')).direct, true)
  const [first, second] = await right.send([left.address, hex20()], 'and you')
  assert.deepEqual([first.result, second.result], ['delivered', 'unreachable'])

  const { sha256 } = await left.sendBytes(1, large)
  const whole = await right.hears(sha256)
  assert.deepEqual([whole.bytes, whole.binary], [large, true])
  const back = await right.sendBytes(2, large, left.address)
  assert.equal(back.result.result, 'delivered')
  assert.equal((await left.hears(back.sha256)).direct, true)

  // What an application may read and set.
  const read = await left.page.evaluate(async () => {
    easypeers.maxPeers = 4
    easypeers.timeout = 45_000
    const first = { maxPeers: easypeers.maxPeers, timeout: easypeers.timeout }
    await new Promise(resolve => setTimeout(resolve))
    const { maxPeers, timeout, wireCount, address, identifier } = easypeers
    return { first, maxPeers, timeout, wireCount, address, identifier, peers: easypeers.peers() }
  })
  assert.deepEqual(read.first, { maxPeers: 4, timeout: 45_000 })
  assert.deepEqual([read.maxPeers, read.timeout, read.wireCount], [4, 45_000, 1])
  assert.equal(read.identifier, createHash('sha1').update('easypeers-' + topic).digest('hex'))
  assert.deepEqual(read.peers.map(({ address, browser, compat }) => [address, browser, compat]), [[right.address, true, false]])
  const refused = await left.page.evaluate(topic => [
    () => { easypeers.maxPeers = 1 }, () => { easypeers.address = 'me' }, () => easypeers.send('you', 'text'),
    () => easypeers.send(5), () => new easypeers.constructor(), () => new easypeers.constructor(topic, { trackers: 'http://x' }),
    () => new easypeers.constructor(topic, { address: 'a'.repeat(40) }), () => new easypeers.constructor(topic, { password: '' }),
    () => { easypeers.address = 'a'.repeat(40) }
  ].map(call => { try { call(); return 'taken' } catch (error) { return error.name } }), topic)
  assert.deepEqual(refused, ['RangeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'Error', 'Error', 'Error', 'Error'])

  // Another swarm, under the same address: found again there, and nothing is heard from here.
  const elsewhere = hex20()
  for (const { page } of [left, right]) {
    await page.evaluate(identifier => { easypeers.identifier = identifier }, elsewhere)
    assert.equal(await page.evaluate(() => easypeers.identifier), elsewhere)
  }
  await left.loses(right.address)
  await left.meets(right.address)
  await right.meets(left.address)
  await right.send('in another swarm')
  await left.hears('in another swarm')

  // How long a link is up goes on while nothing happens on it.
  const up = await left.page.evaluate(async () => {
    const before = easypeers.peers()[0].up
    await new Promise(resolve => setTimeout(resolve, 20))
    return easypeers.peers()[0].up - before
  })
  assert.ok(up > 10, `${up} ms`)

  await left.page.evaluate(() => easypeers.close())
  assert.deepEqual(await left.page.evaluate(() => [easypeers.wireCount, easypeers.peers(), easypeers.status().state]), [0, [], 'offline'])
  await right.loses(left.address)
})

test("the original's example, pasted behind a script tag, works", { skip, timeout: 120_000 }, async () => {
  lab.site.write('/example.html', `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script src="${lab.tracker.http}easypeers.js"></script>
<script>
const easypeers = new Easypeers('Some unique topic', {
  maxPeers: 6
})

console.log('My address:', easypeers.address)

easypeers.on('message', data => {
  console.log(data.message.trim())
})

easypeers.on('connect', peer => {
  console.log('Peer connected!', peer, '\\r\\nWires:', easypeers.wireCount)
})

easypeers.on('disconnect', peer => {
  console.log('Peer disconnected!', peer)
})
</script>`)
  const { page } = await lab.openUrl('about:blank', {}, 'peer')
  const said = []
  page.on('console', message => said.push(message.text()))
  await page.goto(`${lab.site.url}/example.html`)
  const says = text => until(`the page says ${text}`, () => said.some(line => line.startsWith(text)))
  const address = await page.evaluate('easypeers.address')
  await says(`My address: ${address}`)
  const peer = await native('Some unique topic')
  await says(`Peer connected! ${peer.address}`)
  assert.match(said.find(line => line.startsWith('Peer connected!')), /Wires: 1$/)
  peer.say('hello, page  ')
  await says('hello, page')
  await page.evaluate("void easypeers.send('your message')")
  await peer.event('message', { data: 'your message', from: address })
  await page.evaluate("void easypeers.send(new TextEncoder().encode('from the terminal\\n'))")
  await peer.stop()
  await says(`Peer disconnected! ${peer.address}`)
})

/** Chromium as it is now and then: on a channel of the other side all is lost until that side was heard. */
function lossy () {
  globalThis.RTCPeerConnection = class RTCPeerConnection extends globalThis.RTCPeerConnection {
    constructor (...args) {
      super(...args)
      this.addEventListener('datachannel', ({ channel }) => {
        let heard = false
        channel.addEventListener('message', () => { heard = true }, { once: true })
        channel.send = data => heard && RTCDataChannel.prototype.send.call(channel, data)
      })
    }
  }
}

test('where the first that an answering page sends may be lost, links come up all the same', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const [left, right] = [await lab.browserPeer(topic, {}, lossy), await lab.browserPeer(topic, {}, lossy)]
  await left.meets(right.address)
  await right.meets(left.address)
  const id = await left.send('at once')
  assert.equal((await right.hears('at once')).id, id)
  for (const { rejected } of [await left.stats(), await right.stats()]) assert.equal(rejected, 0, 'at the first try')
})

test('events come to those who listen, once if they say so', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const [left, right] = [await lab.browserPeer(topic), await lab.browserPeer(topic)]
  await left.meets(right.address)
  await left.page.evaluate(() => {
    globalThis.got = []
    const gone = () => got.push('gone')
    easypeers.on('message', gone).off('message', gone)
      .once('message', ({ message }) => got.push('once ' + message))
      .on('message', ({ message }) => got.push('on ' + message))
  })
  await right.send('one')
  await right.send('two')
  await until('both came', async () => (await left.page.evaluate(() => got)).length >= 3)
  assert.deepEqual(await left.page.evaluate(() => got), ['once one', 'on one', 'on two'])
  await left.page.evaluate(() => easypeers.off('message').on('message', () => got.push('last')))
  await right.send('three')
  await until('it came', async () => (await left.page.evaluate(() => got)).includes('last'))
  assert.equal((await left.page.evaluate(() => got)).length, 4)
})

for (const first of ['tab', 'native peer']) {
  test(`a tab and a native peer talk; the ${first} was here first`, { skip, timeout: 120_000 }, async () => {
    const topic = hex20()
    let tab, peer
    if (first === 'tab') tab = await lab.browserPeer(topic)
    peer = await native(topic)
    tab ??= await lab.browserPeer(topic)
    await tab.meets(peer.address)
    await peer.event('connect', { peer: tab.address })
    const [{ browser }] = await tab.page.evaluate(() => easypeers.peers())
    assert.equal(browser, false)

    await tab.send('from the tab')
    const message = await peer.event('message', { data: 'from the tab' })
    assert.deepEqual([message.from, message.direct, message.verified, message.hops], [tab.address, false, true, 1])
    peer.say('from the native peer')
    assert.equal((await tab.hears('from the native peer')).from, peer.address)

    assert.equal((await tab.send(peer.address, 'only you')).result, 'delivered')
    assert.equal((await peer.event('message', { data: 'only you' })).direct, true)
    peer.say(`/msg ${tab.address} you too`)
    assert.equal((await peer.event('receipt', { to: tab.address })).result, 'delivered')
    assert.equal((await tab.hears('you too')).direct, true)

    const sent = await tab.sendBytes(3, large)
    const hex = (await peer.event('message', { encoding: 'hex' })).data
    assert.equal(sha256(Buffer.from(hex, 'hex')), sent.sha256)
    const direct = await tab.sendBytes(4, large, peer.address)
    assert.equal(direct.result.result, 'delivered')
    const text = 'x'.repeat(large / 2) + 'ü'.repeat(large / 4)
    peer.say(text)
    await tab.hears(sha256(text))

    const [link] = await tab.page.evaluate(() => easypeers.peers())
    assert.equal(link.address, peer.address)
    await peer.stop()
    await tab.loses(peer.address)
  })
}

test('a password keeps strangers out', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const inside = await lab.browserPeer(topic, { password: 'correct horse' })
  const wrong = await lab.browserPeer(topic, { password: 'battery staple' })
  const none = await lab.browserPeer(topic)
  const peer = await native(topic, '--password', 'correct horse')
  await inside.meets(peer.address)
  // They have been tried by now: both were here before the native peer.
  await until('a stranger was refused', async () => (await inside.stats()).rejected > 0)
  await inside.send('a secret')
  await peer.event('message', { data: 'a secret' })
  for (const stranger of [wrong, none]) {
    const { connected, messages } = await stranger.log()
    assert.deepEqual([connected, messages], [[], []])
  }
})

test('8 tabs and 3 native peers with 3 links each: everybody gets everything once, whatever breaks', { skip, timeout: 280_000 }, async () => {
  const topic = hex20()
  const tabs = []
  for (let count = 0; count < 8; count++) tabs.push(await lab.browserPeer(topic, { maxPeers: 3 }))
  const peers = []
  for (let count = 0; count < 3; count++) peers.push(await native(topic, '--max-peers', '3'))

  const hears = (member, text) => member.hears ? member.hears(text) : member.event('message', { data: text })
  const count = async (member, text) => member.hears
    ? (await member.heard(text)).length
    : member.all('message').filter(({ data }) => data === text).length
  /** Everybody says something; everybody else hears it exactly once. */
  async function round (name, members) {
    const said = members.map(({ address }) => `${name} of ${address}`)
    for (const [at, member] of members.entries()) await (member.send ?? member.say)(said[at])
    for (const [at, text] of said.entries()) {
      for (const member of members) if (member !== members[at]) await hears(member, text)
    }
    for (const [at, text] of said.entries()) {
      for (const member of members) assert.equal(await count(member, text), member === members[at] ? 0 : 1, `${text} at ${member.address}`)
    }
  }
  /** A message of each reaches all: until then the mesh is still being woven. */
  async function whole (name, members) {
    await until(`one mesh: ${name}`, async () => {
      const text = `${name} ${Math.random()}`
      await Promise.all(members.map((member, at) => (member.send ?? member.say)(`${text} ${at}`)))
      const all = async () => {
        for (const member of members) {
          for (const [at, other] of members.entries()) {
            if (member !== other && !await count(member, `${text} ${at}`)) return false
          }
        }
        return true
      }
      const end = Date.now() + 3000
      while (Date.now() < end) if (await all()) return true
      return false
    }, 90_000)
  }

  let members = [...tabs, ...peers]
  await whole('joined', members)
  await round('first', members)
  // Two more for a while, as long as neighbours are exchanged: three tries of 17 s at most.
  for (const tab of tabs) await until('three links', async () => await tab.links() <= 3, 90_000)

  // A tab is closed by its user: it says goodbye.
  const [closed] = tabs.splice(2, 1)
  const neighbours = (await closed.page.evaluate(() => easypeers.peers())).map(({ address }) => address)
  lab.pages.splice(lab.pages.findIndex(({ page }) => page === closed.page), 1)
  const closing = Date.now()
  await closed.page.close({ runBeforeUnload: true })
  for (const tab of tabs.filter(({ address }) => neighbours.includes(address))) {
    await tab.loses(closed.address, 20_000)
    console.log(`a neighbour knew after ${(await tab.log()).at[closed.address] - closing} ms`)
  }
  await closed.close()
  // A native peer dies.
  const [killed] = peers.splice(0, 1)
  killed.child.kill('SIGKILL')
  await until('it is dead', () => killed.ended)
  members = [...tabs, ...peers]
  await whole('healed', members)
  await round('second', members)

  // The tracker is away.
  const { port } = new URL(lab.tracker.http)
  await lab.tracker.stop()
  for (const tab of tabs) {
    await until('the tracker is missed', () => tab.page.evaluate(() => easypeers.status().trackers === 0))
  }
  await round('third', members)
  lab.tracker = await startTracker({ port })
  for (const tab of tabs) {
    await until('the tracker is back', () => tab.page.evaluate(() => easypeers.status().trackers === 1), 90_000)
  }
  const late = await lab.browserPeer(topic, { maxPeers: 3 })
  members.push(late)
  await whole('grown', members)
  await round('fourth', members)
  // What Chromium says about the tracker that was away is no error of the page.
  // Nobody is there, or it is draining and says so.
  for (const page of lab.pages) page.errors = page.errors.filter(text => !/ERR_CONNECTION_REFUSED|Unexpected response code: 503|socket:/.test(text))
})
