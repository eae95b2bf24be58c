// Native and browser peers in compatibility mode and pages that speak as
// Easypeers 1 did, over plain browser WebRTC.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, standIn, startPeer, until } from './harness.mjs'

const lab = new Lab()
const peers = []
before(() => lab.start())
afterEach(async () => {
  await Promise.all(peers.splice(0).map(peer => peer.stop()))
  await lab.clean()
})
after(() => lab.stop())

async function native (topic, ...args) {
  const peer = await startPeer(lab.ws, topic, ...args)
  peers.push(peer)
  return peer
}

/** A page with an original; calls on it run in the page. */
async function original (topic, options) {
  const { page } = await lab.open('original')
  const address = await page.evaluate(options => {
    globalThis.peer = new Original(options)
    return peer.start()
  }, { tracker: lab.ws, topic, ...options })
  return {
    address,
    log: () => page.evaluate(() => peer.log),
    send: (text, to) => page.evaluate(([text, to]) => peer.send(text, to), [text, to]),
    stop: () => page.evaluate(() => peer.stop()),
    announce: () => page.evaluate(() => peer.announce())
  }
}

const met = (page, peer) => until('the page connects', async () => (await page.log()).connected.includes(peer.address))
const texts = async page => (await page.log()).messages.map(({ from, message }) => `${from} ${message}`)
const heard = (page, ...expected) => until(`the page hears ${expected}`, async () => {
  const messages = await texts(page)
  return expected.every(text => messages.includes(text))
})

for (const [who, options] of [['the page', { answers: false }], ['the native peer', { offers: 0 }]]) {
  test(`${who} offers, and they talk`, { timeout: 120_000 }, async () => {
    const topic = hex20()
    const peer = await native(topic, '--compat')
    const page = await original(topic, options)
    await peer.event('connect', { peer: page.address })
    await met(page, peer)
    const { offered, answered } = await page.log()
    assert.deepEqual([offered, answered], options.offers === 0 ? [[], [peer.address]] : [[peer.address], []])

    peer.say('from the native peer, ünd mehr')
    await heard(page, `${peer.address} from the native peer, ünd mehr`)
    await page.send('from the page 😀')
    const message = await peer.event('message', { from: page.address })
    assert.deepEqual([message.data, message.direct, message.verified], ['from the page 😀', false, false])

    peer.say(`/msg ${page.address} only you`)
    assert.equal((await peer.event('receipt', { to: page.address })).result, 'sent')
    await heard(page, `${peer.address} only you`)
    await page.send('you too', peer.address)
    assert.equal((await peer.event('message', { data: 'you too' })).direct, true)
    const { dropped, again, messages } = await page.log()
    assert.deepEqual([dropped, again, messages.length], [0, 0, 2], 'each once')
    assert.equal(peer.all('message').length, 2, 'each once')

    await page.stop()
    await peer.event('disconnect', { peer: page.address })
  })
}

for (const [who, options] of [['offers', { answers: false }], ['answers', { offers: 0 }]]) {
  test(`a page that hides its addresses ${who}`, { timeout: 120_000 }, async () => {
    const topic = hex20()
    const peer = await native(topic, '--compat')
    const page = await original(topic, { ...options, hides: true })
    await met(page, peer)
    await page.send('here I am')
    await peer.event('message', { from: page.address, data: 'here I am' })
  })
}

test('messages cross bridges both ways, each once', { timeout: 180_000 }, async () => {
  const topic = hex20()
  const [left, right] = [await native(topic, '--compat'), await native(topic, '--compat')]
  await left.event('connect', { peer: right.address })
  // Does not take originals, and hears them all the same.
  const strict = await native(topic)
  await strict.event('connect')
  const atLeft = await original(topic, { only: [left.address] })
  const atRight = await original(topic, { only: [right.address] })
  const atBoth = await original(topic, { only: [left.address, right.address] })
  const links = [[atLeft, left], [atRight, right], [atBoth, left], [atBoth, right]]
  for (const [page, peer] of links) await met(page, peer)

  const natives = [left, right, strict]
  const pages = [atLeft, atRight, atBoth]
  for (const page of pages) await page.send(`from ${page.address}`)
  for (const peer of natives) peer.say(`from ${peer.address}`)
  const all = [...pages, ...natives].map(({ address }) => `${address} from ${address}`)
  for (const page of pages) await heard(page, ...all.filter(text => !text.startsWith(page.address)))
  for (const peer of natives) {
    for (const { address } of [...pages, ...natives]) {
      if (address === peer.address) continue
      const message = await peer.event('message', { from: address })
      assert.equal(message.verified, natives.some(other => other.address === address), 'only members prove who they are')
    }
  }
  // A direct message finds its way, and is for nobody else.
  await atLeft.send('across', atRight.address)
  await heard(atRight, `${atLeft.address} across`)
  await atLeft.send('to a member', strict.address)
  assert.equal((await strict.event('message', { data: 'to a member' })).direct, true)
  // Whatever would come twice has come by the time that another round is through.
  await atLeft.send('last')
  for (const page of [atRight, atBoth]) await heard(page, `${atLeft.address} last`)
  for (const peer of natives) await peer.event('message', { data: 'last' })
  for (const page of pages) {
    const messages = await texts(page)
    assert.equal(new Set(messages).size, messages.length, `twice: ${messages}`)
    assert.equal((await page.log()).dropped, 0)
  }
  for (const peer of natives) assert.equal(peer.all('message').length, peer === strict ? 7 : 6)
  for (const page of pages) {
    const { length } = (await texts(page)).filter(text => text.endsWith(' across'))
    assert.equal(length, page === atRight ? 1 : 0)
  }
})

test('without compatibility mode an original is refused', { timeout: 120_000 }, async () => {
  const topic = hex20()
  const peer = await native(topic)
  const page = await original(topic)
  await until('the link is refused', async () => {
    const { offered, answered } = await page.log()
    return offered.length + answered.length > 0
  })
  const member = await native(topic)
  await peer.event('connect', { peer: member.address })
  assert.deepEqual(peer.all('connect').map(event => event.peer), [member.address])
  assert.deepEqual((await page.log()).connected, [])
})

for (const [who, options] of [['the original', { answers: false }], ['the browser peer', { offers: 0 }]]) {
  test(`a browser peer in compatibility mode: ${who} offers, and they talk`, {
    skip: standIn ? 'the stand-in serves no peer' : false, timeout: 120_000
  }, async () => {
    const topic = hex20()
    const peer = await lab.browserPeer(topic, { compat: true })
    const page = await original(topic, options)
    await peer.meets(page.address)
    await met(page, peer)
    assert.equal((await peer.page.evaluate(() => easypeers.peers()))[0].compat, true)

    await peer.send('from the browser peer, ünd mehr')
    await heard(page, `${peer.address} from the browser peer, ünd mehr`)
    await page.send('from the page 😀')
    const message = await peer.hears('from the page 😀', page.address)
    assert.deepEqual([message.direct, message.verified], [false, false])

    assert.equal((await peer.send(page.address, 'only you')).result, 'sent')
    await heard(page, `${peer.address} only you`)
    await page.send('you too', peer.address)
    assert.equal((await peer.hears('you too')).direct, true)
    assert.equal((await page.log()).dropped, 0)
    assert.equal((await page.log()).messages.length, 2, 'each once')
    assert.equal((await peer.log()).messages.length, 2, 'each once')

    await page.stop()
    await peer.loses(page.address)
  })
}
