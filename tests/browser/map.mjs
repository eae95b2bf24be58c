// What the page costs a browser, with figures: node map.mjs [MESSAGES]. Not part of the tests; results go to
// docs/measurements/browser.md.
import { setTimeout as delay } from 'node:timers/promises'
import { Lab, hex20, startPeer, until } from './harness.mjs'

const messages = Number(process.argv[2] ?? 20_000)
const NODES = 200
const lab = await new Lab().start()
const row = (name, value) => console.log(`| ${name} | ${value} |`)

/** Replaces the page's frames by ones that are counted and timed. */
function count () {
  globalThis.frames = []
  const real = requestAnimationFrame
  globalThis.requestAnimationFrame = call => real(at => {
    const start = performance.now()
    call(at)
    frames.push(performance.now() - start)
  })
}

/** A map of its own with so many nodes, where each fourth knows three others. */
async function big (nodes) {
  const { createMap } = await import('/map.js')
  const canvas = document.body.appendChild(document.createElement('canvas'))
  canvas.style.cssText = 'display: block; width: 900px; height: 560px'
  canvas.scrollIntoView()
  const map = createMap(canvas, { onNode () {}, onLink () {} })
  const id = at => `${at}`.padStart(40, '0')
  const parent = at => Math.floor((at - 1) / 6)
  const hops = at => at ? hops(parent(at)) + 1 : 0
  const list = Array.from({ length: nodes }, (_, at) => ({ id: id(at), label: `n${at}`, kind: at % 3 ? 'browser' : 'native', me: !at, hops: hops(at) }))
  const links = list.slice(1).map((_, at) => ({ a: id(at + 1), b: id(parent(at + 1)), mine: parent(at + 1) === 0 }))
  for (let at = 8; at < nodes; at += 2) links.push({ a: id(at), b: id(at * 7 % nodes), mine: false })
  map.show({ nodes: list, links })
  const path = at => at ? [...path(parent(at)), id(at)] : [id(0)]
  globalThis.flow = () => map.flow(list.map((_, at) => path(at)))
  globalThis.cut = () => map.show({ nodes: list, links: links.slice(20) })
}

try {
  const { page } = await lab.openUrl('about:blank', {}, 'own page')
  await page.addInitScript(count)
  await page.goto(`${lab.tracker.http}#${hex20()}`)
  await until('the peer', () => page.evaluate(() => Boolean(globalThis.easypeers)))
  await until('the page rests', async () => {
    const before = await page.evaluate(() => frames.length)
    await delay(3000)
    return await page.evaluate(() => frames.length) === before
  })
  await page.evaluate(big, NODES)
  const seconds = 8
  const start = await page.evaluate(() => { frames.length = 0; return performance.now() })
  for (let at = 0; at < seconds; at++) {
    await page.evaluate(at => { flow(); if (at === 4) cut() }, at)
    await delay(1000)
  }
  const { drawn, took } = await page.evaluate(start => ({ drawn: frames.toSorted((a, b) => a - b), took: performance.now() - start }), start)
  row(`frames a second, ${NODES} nodes, all moving, a broadcast each second`, (drawn.length / took * 1000).toFixed(0))
  row('milliseconds of script for a frame: median, 95 %', `${drawn[Math.floor(drawn.length / 2)].toFixed(1)}, ${drawn[Math.floor(drawn.length * 0.95)].toFixed(1)}`)
  await until('it rests', async () => {
    const before = await page.evaluate(() => frames.length)
    await delay(3000)
    return await page.evaluate(() => frames.length) === before
  })
  row('frames drawn in 10 s in which nothing happens', await page.evaluate(async () => {
    const before = frames.length
    await new Promise(resolve => setTimeout(resolve, 10_000))
    return frames.length - before
  }))
  row('frames drawn while hidden, with a broadcast each 100 ms', await page.evaluate(async () => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })
    document.dispatchEvent(new Event('visibilitychange'))
    const before = frames.length
    for (let at = 0; at < 20; at++) {
      flow()
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    return frames.length - before
  }))
  await lab.clean()

  const topic = hex20()
  const { page: chat } = await lab.ownPage(topic)
  const peers = await Promise.all([1, 2, 3, 4].map(() => startPeer(lab.ws, topic)))
  await until('all are linked', () => chat.evaluate(() => easypeers.wireCount === 4))
  const session = await chat.context().newCDPSession(chat)
  const measure = async () => {
    await session.send('HeapProfiler.collectGarbage')
    const { metrics } = await session.send('Performance.getMetrics')
    const of = name => metrics.find(metric => metric.name === name).value
    const { heard, rows, stored } = await chat.evaluate(() => ({
      heard: easypeers.stats().messagesReceived,
      rows: document.querySelectorAll('#messages li').length,
      stored: Object.values(localStorage).join('').length
    }))
    row(`heap, elements, messages on the screen, characters stored, after ${heard} messages`,
      `${(of('JSHeapUsedSize') / 2 ** 20).toFixed(1)} MiB, ${of('Nodes')}, ${rows}, ${stored}`)
  }
  await session.send('Performance.enable')
  let sent = 0
  await measure()
  for (const part of [0.05, 0.25, 0.5, 0.75, 1]) {
    while (sent < messages * part) {
      for (const peer of peers) for (let at = 0; at < 5; at++) peer.say(`message ${sent++} of an hour of chat, as long as people write`)
      await delay(250)
    }
    await until('they come', () => chat.evaluate(sent => easypeers.stats().messagesReceived >= sent * 0.98, sent), 60_000)
    await measure()
  }
  for (const peer of peers) await peer.stop()
  await lab.clean()
} finally {
  await lab.stop()
}
