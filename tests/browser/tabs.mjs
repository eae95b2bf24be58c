// Many tabs in one mesh, with figures: node tabs.mjs [TABS] [LINKS] [SETTLE] [QUIET], the last two in seconds. Not part
// of the tests; results go to docs/measurements/browser.md.
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { Lab, hex20, pagePeer, until } from './harness.mjs'

const count = Number(process.argv[2] ?? 20)
const maxPeers = Number(process.argv[3] ?? 6)
const settle = Number(process.argv[4] ?? 300)
const quiet = Number(process.argv[5] ?? 600)
const PATIENCE = 180_000
const topic = hex20()
const lab = await new Lab().start()
const row = (name, value) => console.log(`| ${name} | ${value} |`)
const middle = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

/** Memory of the renderers, shared pages divided among their users, in KiB. */
async function memory () {
  const session = await lab.browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const sizes = []
  for (const { id, type } of processInfo.filter(({ type }) => type === 'renderer')) {
    const rollup = await readFile(`/proc/${id}/smaps_rollup`, 'utf8').catch(() => '')
    const size = Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1])
    if (size) sizes.push(size)
  }
  return sizes
}

/** Everybody says something; until everybody heard everybody else: how long it took. */
async function round (name, tabs) {
  const start = Date.now()
  await Promise.all(tabs.map((tab, at) => tab.send(`${name} ${at}`)))
  const texts = tabs.map((_, at) => `${name} ${at}`)
  const missing = async () => {
    const lists = await Promise.all(tabs.map(tab => tab.log()))
    let missing = 0
    let twice = 0
    for (const [at, { messages }] of lists.entries()) {
      for (const text of texts) {
        const copies = messages.filter(message => message.text === text).length
        if (text !== texts[at] && !copies) missing++
        if (copies > 1) twice++
      }
    }
    return { missing, twice }
  }
  const end = Date.now() + PATIENCE
  let now = await missing()
  while (now.missing && Date.now() < end) {
    await delay(100)
    now = await missing()
  }
  const pairs = tabs.length * (tabs.length - 1)
  row(`${name}: delivered`, `${pairs - now.missing} of ${pairs}, ${now.twice} twice, all within ${Date.now() - start} ms`)
}

try {
  const opened = []
  for (let at = 0; at < count; at++) opened.push(await lab.open('peer', '#' + lab.tracker.http))
  const before = await memory()
  const began = Date.now()
  const tabs = await Promise.all(opened.map(page => pagePeer(page, topic, { maxPeers })))
  const joined = new Map()
  await until(`all ${count} tabs have two links`, async () => {
    await Promise.all(tabs.map(async tab => {
      if (!joined.has(tab) && await tab.links() >= 2) joined.set(tab, Date.now() - began)
    }))
    return joined.size === count
  }, PATIENCE)
  console.log(`| ${count} tabs, ${maxPeers} links each | |\n| --- | --- |`)
  row('two links, median and last tab', `${middle([...joined.values()])} and ${Math.max(...joined.values())} ms after all joined at once`)
  const created = async () => (await Promise.all(tabs.map(tab => tab.stats()))).reduce((sum, stats) => sum + stats.connectionsCreated, 0)
  await delay(20_000)
  const links = await Promise.all(tabs.map(tab => tab.links()))
  row('links after 20 s, least, mean, most', `${Math.min(...links)}, ${(links.reduce((sum, n) => sum + n) / count).toFixed(1)}, ${Math.max(...links)}`)
  row('connections created for each link in use', (await created() / links.reduce((sum, n) => sum + n)).toFixed(2))
  await round('first round', tabs)
  const stats = await Promise.all(tabs.map(tab => tab.stats()))
  const sum = key => stats.reduce((sum, stats) => sum + stats[key], 0)
  row('copies for each message received, beyond the first', (sum('duplicates') / sum('messagesReceived')).toFixed(2))
  row('lost for slowness', sum('dropped'))
  const woven = await created()
  await delay(settle * 1000)
  const settled = await created()
  row(`connections created for each tab and hour, in the first ${settle} s`, ((settled - woven) / count * 3600 / settle).toFixed(1))
  let last = settled
  const minutes = []
  for (let at = 0; at < quiet; at += 60) {
    await delay(60_000)
    const now = await created()
    minutes.push(now - last)
    last = now
  }
  row(`connections created for each tab and hour, in the ${quiet} s after`, ((last - settled) / count * 3600 / quiet).toFixed(1))
  row('of all tabs, minute by minute', minutes.join(', '))
  const after = await memory()
  row('memory of a tab before joining, and in the mesh', `${Math.round(middle(before) / 1024)} and ${Math.round(middle(after) / 1024)} MiB`)
  const gone = tabs.splice(0, Math.floor(count / 4))
  for (const tab of gone) await tab.close()
  await until('those that stay have two links', async () => (await Promise.all(tabs.map(tab => tab.links()))).every(n => n >= 2), PATIENCE)
  await round('a quarter of the tabs closed', tabs)
  await lab.tracker.stop()
  lab.tracker = null
  await round('tracker stopped', tabs)
} finally {
  await lab.stop()
}
