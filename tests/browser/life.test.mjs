// What the life of a page does to its peer: hidden, frozen, left and come back to, offline; and where a page may
// stand: without a secure context, behind another network's candidates.
import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, launch, pagePeer, standIn, startPeer, startTracker, until } from './harness.mjs'

const skip = standIn ? 'the stand-in serves no peer' : false
const lab = new Lab()
const ending = []
if (skip) {
  console.log(`life.test.mjs skipped: ${skip}`)
} else {
  before(() => lab.start({ throttled: true }))
  afterEach(async () => {
    for (const end of ending.splice(0).reverse()) await end()
    await lab.clean()
  })
  after(() => lab.stop())
}

async function native (topic, tracker = lab.ws, ...args) {
  const peer = await startPeer(tracker, topic, ...args)
  ending.push(() => peer.stop())
  return peer
}

/** Counts a page's timers of 100 ms, and the longest time between two. */
const countTimers = page => page.evaluate(() => {
  globalThis.timers = { count: 0, longest: 0 }
  let last = performance.now()
  setInterval(() => {
    const now = performance.now()
    Object.assign(timers, { count: timers.count + 1, longest: Math.max(timers.longest, now - last) })
    last = now
  }, 100)
})
const timers = page => page.evaluate(() => timers)

/** Until so many seconds of a page have passed: as long as a neighbour that fell silent takes to be missed. */
const seconds = async (page, count) => {
  const { count: start } = await timers(page)
  await until(`${count} s of a page`, async () => (await timers(page)).count - start >= count * 10, count * 10_000)
}
const lost = async peers => (await Promise.all(peers.map(peer => peer.log()))).map(({ disconnected }) => disconnected)

test('a hidden tab, whose timers fire once a second, stays in the mesh and accuses nobody', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const tab = await lab.hideablePeer(topic)
  const other = await lab.browserPeer(topic)
  const peer = await native(topic)
  for (const page of [tab, other]) await page.meets(peer.address)
  await tab.meets(other.address)
  await countTimers(other.page)
  await tab.hide()
  await countTimers(tab.page)
  await seconds(other.page, 20)
  const { longest } = await timers(tab.page)
  assert.ok(longest > 900, `its timers were to be late, by ${longest} ms`)

  await tab.send('from behind')
  await other.hears('from behind')
  await peer.event('message', { data: 'from behind' })
  await other.send('to behind')
  await tab.hears('to behind')
  assert.equal((await tab.send(peer.address, 'only you')).result, 'delivered')
  assert.deepEqual(await lost([tab, other]), [[], []])
  assert.deepEqual(peer.all('disconnect'), [])
})

test('a frozen tab comes back, accuses nobody, and hears what was said', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const options = { history: 300_000 }
  const tab = await lab.browserPeer(topic, options)
  const others = [await lab.browserPeer(topic), await lab.browserPeer(topic)]
  for (const other of others) {
    await tab.meets(other.address)
    await other.meets(others.find(another => another !== other).address)
  }
  await countTimers(others[0].page)
  const session = await tab.page.context().newCDPSession(tab.page)
  await session.send('Page.setWebLifecycleState', { state: 'frozen' })
  await others[0].send('while it sleeps')
  await others[1].hears('while it sleeps')
  await seconds(others[0].page, 8)
  await session.send('Page.setWebLifecycleState', { state: 'active' })
  await tab.hears('while it sleeps')
  await tab.send('awake')
  for (const other of others) await other.hears('awake')
  // It slept for a shorter time than neighbours are given.
  await seconds(others[0].page, 4)
  assert.deepEqual(await lost([tab, ...others]), [[], [], []])
})

test('a page that is left says goodbye, and joins again as the same when one goes back to it', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const tab = await lab.hideablePeer(topic)
  const peer = await native(topic)
  await tab.meets(peer.address)
  lab.site.write('/other.html', '<!doctype html><link rel="icon" href="data:,"><title>another page</title>')
  const shows = title => until(`the tab shows ${title}`, () => tab.page.evaluate(() => document.title).catch(() => '').then(shown => shown === title))
  await tab.page.evaluate(() => { location.href = '/other.html' })
  await shows('another page')
  await until('the neighbour is told', () => peer.all('disconnect').some(event => event.peer === tab.address))
  const before = peer.events.length
  await tab.page.evaluate(() => history.back())
  await shows('A page with a peer')
  // The same page, not one that was loaded again: it knows whom it lost.
  assert.ok((await tab.log()).connected.length > 0, 'the browser kept the page')
  await until('the neighbour meets it again', () => peer.events.slice(before)
    .some(({ event, peer }) => event === 'connect' && peer === tab.address))
  assert.equal(await tab.page.evaluate(() => easypeers.address), tab.address)
  await tab.meets(peer.address)
  await tab.send('here again')
  await peer.event('message', { data: 'here again', from: tab.address })
  peer.say('welcome')
  await tab.hears('welcome')
  assert.equal(await tab.links(), 1)
})

test('a page that was offline looks for its tracker as soon as it is online', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const tab = await lab.browserPeer(topic)
  const peer = await native(topic)
  await tab.meets(peer.address)
  const { port } = new URL(lab.tracker.http)
  await lab.tracker.stop()
  await tab.page.context().setOffline(true)
  await until('the tracker is missed', () => tab.page.evaluate(() => easypeers.status().trackers === 0))
  // The mesh needs neither.
  await tab.send('without a tracker')
  await peer.event('message', { data: 'without a tracker' })
  const retries = async () => Number(/retrying in (\d+) s/.exec((await tab.page.evaluate(() => easypeers.status())).reason)?.[1])
  await until('it is tried seldom', async () => await retries() >= 8, 90_000)
  lab.tracker = await startTracker({ port })
  const before = tab.sockets.length
  const next = await until('the next time is far away', async () => await retries() >= 4 && tab.sockets.length)
  await tab.page.context().setOffline(false)
  await until('it is tried again', () => tab.sockets.length > next)
  await until('the tracker is back', () => tab.page.evaluate(() => easypeers.status().trackers === 1))
  assert.ok(before <= next)
  peer.say('still here')
  await tab.hears('still here')
  for (const page of lab.pages) page.errors = page.errors.filter(text => !/ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED|Unexpected response code: 503|socket:/.test(text))
})

/** Runs in a page before its scripts: its candidates name no address but `.local` names, as without a camera. */
function hideAddresses () {
  const { get } = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'localDescription') ??
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(RTCPeerConnection.prototype), 'localDescription')
  globalThis.hidden = 0
  Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', {
    get () {
      const description = get.call(this)
      const sdp = description?.sdp.replace(/(a=candidate:\S+ \d+ \w+ \d+ )\S+/g, (_, before) => {
        globalThis.hidden++
        return `${before}${crypto.randomUUID()}.local`
      })
      return description && { type: description.type, sdp }
    }
  })
}

for (const first of ['the one that hides', 'the other']) {
  test(`addresses behind .local names are no obstacle; ${first} was here first`, { skip, timeout: 180_000 }, async () => {
    for (const kind of ['native', 'tab']) {
      const topic = hex20()
      const join = {
        'the one that hides': async () => pagePeer(await lab.open('peer', '#' + lab.tracker.http, hideAddresses), topic),
        'the other': () => kind === 'native' ? native(topic) : lab.browserPeer(topic)
      }
      const peers = { [first]: await join[first]() }
      for (const name in join) peers[name] ??= await join[name]()
      const { 'the one that hides': hides, 'the other': other } = peers
      await hides.meets(other.address)
      await hides.send('from nowhere')
      await (other.hears ? other.hears('from nowhere') : other.event('message', { data: 'from nowhere' }))
      await (other.send ?? other.say)('to nowhere')
      await hides.hears('to nowhere')
      assert.ok(await hides.page.evaluate(() => globalThis.hidden) > 0, 'names were hidden')
    }
  })
}

test('the example works in a page of another origin without a secure context', { skip, timeout: 180_000 }, async t => {
  const [address] = Object.values(networkInterfaces()).flat()
    .filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address)
  if (!address) return t.skip('this machine has no address but loopback')
  const tracker = await startTracker({ host: address })
  ending.push(() => tracker.stop())
  const http = tracker.http
  const site = await lab.site.listen(address)
  ending.push(() => site.stop())
  const browser = await launch({ also: address })
  ending.push(() => browser.close())
  const topic = hex20()
  lab.site.write('/elsewhere.html', `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script src="${http}easypeers.js"></script>
<script>
  const easypeers = new Easypeers('${topic}', { maxPeers: 6 })
  easypeers.on('message', data => console.log(data.from, data.message))
  easypeers.on('connect', async peer => {
    await easypeers.send('hello, everybody')
    const receipt = await easypeers.send(peer, 'only you can read this')
    console.log(receipt.result, receipt.hops, receipt.rtt)
  })
</script>`)
  const elsewhere = Object.assign(new Lab(), { tracker, ws: tracker.ws, browser, site })
  const { page } = await elsewhere.openUrl('about:blank', { also: address })
  const said = []
  page.on('console', message => said.push(message.text()))
  await page.goto(`${site.url}/elsewhere.html`)
  assert.equal(await page.evaluate('isSecureContext'), false)
  assert.notEqual(new URL(page.url()).origin, new URL(http).origin)
  const me = await page.evaluate('easypeers.address')
  const peer = await native(topic, tracker.ws, '--bind', address, '--no-stun')
  await peer.event('message', { data: 'hello, everybody', from: me })
  await peer.event('message', { data: 'only you can read this', direct: true })
  await until('the receipt', () => said.some(line => /^delivered 1 [\d.]+$/.test(line)))
  peer.say('hello, page')
  await until('the message', () => said.includes(`${peer.address} hello, page`))
  await elsewhere.clean()
})
