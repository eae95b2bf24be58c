// The page: its peers, what is known of the mesh, and the controls. The map and the conversation are given
// what they show.
import { createChat, splitName, withName } from './chat.js'
import { createMap } from './map.js'
import { copies, drawQr, showSnippets } from './snippets.js'

const byId = id => document.getElementById(id)
const ws = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`
/** A member that nothing was heard of for so long is forgotten. */
const FORGOTTEN = 5 * 60_000
/** A neighbour that was lost may be reached by others still. */
const LOST = 20_000
const MOST_LOCAL = 24
/** Members that are shown: what somebody invents does not fill the page. */
const MOST_KNOWN = 300
/** Who comes late hears what was said in the last minutes. */
const HISTORY = 5 * 60_000

let Easypeers = null
let easypeers = null // this page's own peer
let local = [] // peers that were added: { peer, label }
let added = 0
let paused = false
let joined = 0 // when
let password = ''
const members = new Map() // address -> { kind, name, hops, rtt, seen, lost }
const removed = new Set() // addresses of peers that this page ended: their neighbours may not know yet

// ---------------------------------------------------------------- what survives a reload

const preferences = { name: '', maxPeers: 6, ...stored() }

function stored () {
  try {
    return JSON.parse(localStorage.getItem('easypeers preferences')) ?? {}
  } catch {
    return {}
  }
}

function remember () {
  try {
    localStorage.setItem('easypeers preferences', JSON.stringify(preferences))
  } catch {} // full or forbidden: then they are forgotten
}

const topicOf = () => {
  try {
    return decodeURIComponent(location.hash.slice(1)) || 'demo'
  } catch {
    return 'demo'
  }
}
const linkOf = topic => `${location.origin}/#${encodeURIComponent(topic)}`
let topic = topicOf()

// ---------------------------------------------------------------- the parts

const map = createMap(byId('map'), { onNode: aimAt, onLink: cut })
const chat = createChat({
  list: byId('messages'), form: byId('compose'), input: byId('text'), to: byId('to'), clear: byId('clear'), empty: byId('empty')
}, { send: say, onTarget: address => map.select(address) })
const showCode = showSnippets({ tabs: byId('tabs'), code: byId('snippet-code'), button: byId('copy-snippet') },
  () => ({ ws, http: location.origin, topic }))
copies(byId('share'), () => linkOf(topic))

const label = address => members.get(address)?.name || local.find(({ peer }) => peer.address === address)?.label ||
  address.slice(0, 6)

function news (text) {
  byId('news').textContent = text
}

// ---------------------------------------------------------------- what is known of the mesh

/** Something was heard of a member; what is not told stays. */
function learn (address, facts) {
  if (address === easypeers?.address || removed.has(address)) return
  members.set(address, { kind: 'unknown', hops: 0, rtt: null, name: '', ...members.get(address), seen: Date.now(), lost: 0, ...facts })
}

function everyPeer () {
  return [easypeers, ...local.map(({ peer }) => peer)]
}

/** The links that this page knows: those of its own peers. */
function knownLinks () {
  const links = new Map()
  for (const peer of everyPeer()) {
    for (const other of peer.peers()) {
      const ends = [peer.address, other.address].sort()
      links.set(ends.join(' '), { a: ends[0], b: ends[1], mine: peer === easypeers })
      if (!local.some(({ peer }) => peer.address === other.address)) {
        learn(other.address, { kind: other.browser ? 'browser' : 'native' })
      }
    }
  }
  const me = easypeers.address
  return [...links.values()].map(link => ({ ...link, mine: link.a === me || link.b === me }))
}

/** The way to each member over known links, from here. */
function ways (links) {
  const next = new Map()
  for (const { a, b } of links) {
    next.set(a, [...next.get(a) ?? [], b])
    next.set(b, [...next.get(b) ?? [], a])
  }
  const paths = new Map([[easypeers.address, [easypeers.address]]])
  for (const [address, path] of paths) {
    for (const other of next.get(address) ?? []) if (!paths.has(other)) paths.set(other, [...path, other])
  }
  return paths
}

let paths = new Map()
let pending = false

/** Shows what is known, once for all that happens at one time. */
function refresh () {
  if (pending || !easypeers) return
  pending = true
  queueMicrotask(() => {
    pending = false
    if (easypeers) update()
  })
}

function update () {
  const me = easypeers.address
  for (const { peer } of local) learn(peer.address, { kind: 'browser' })
  const links = knownLinks().filter(({ a, b }) => !removed.has(a) && !removed.has(b))
  paths = ways(links)
  const at = Date.now()
  for (const [address, { seen, lost }] of members) {
    if (!paths.has(address) && at - seen > (lost ? LOST : FORGOTTEN)) members.delete(address)
  }
  if (members.size > MOST_KNOWN) {
    const others = [...members].filter(([address]) => !paths.has(address)).sort(([, a], [, b]) => a.seen - b.seen)
    for (const [address] of others.slice(0, members.size - MOST_KNOWN)) members.delete(address)
  }
  for (const { address, rtt } of easypeers.peers()) learn(address, { hops: 1, ...rtt !== null && { rtt } })
  const nodes = [...members].map(([address, member]) => ({
    id: address,
    label: label(address),
    kind: member.kind,
    local: local.some(({ peer }) => peer.address === address),
    hops: paths.has(address) ? paths.get(address).length - 1 : member.hops
  }))
  map.show({ nodes: [{ id: me, label: 'you', kind: 'browser', me: true, hops: 0 }, ...nodes], links })
  showTable(nodes, links)
  showStatus()
  byId('half').disabled = local.length === 0
  byId('cut').disabled = easypeers.wireCount === 0
}

// ---------------------------------------------------------------- words

function sentence () {
  const { links, trackers, state } = easypeers.status()
  const { members: counted } = easypeers.stats()
  const wanted = easypeers.maxPeers
  const held = `${links} of ${wanted} links`
  const known = `${members.size} ${members.size === 1 ? 'peer' : 'peers'} known`
  if (paused) return links ? ['busy', `Tracker paused here: ${held}, ${known}, the mesh is on its own`] : ['bad', 'Tracker paused here and no link: nobody can be met']
  if (trackers === 0) {
    if (!navigator.onLine) return ['bad', `This device is offline: ${held}`]
    if (state === 'connecting') return ['busy', 'Connecting to the tracker of this server']
    return links ? ['busy', `Tracker unreachable, healing over the mesh: ${held}, ${known}`] : ['bad', 'Tracker unreachable and no link yet: trying again']
  }
  if (links) return ['good', `Connected: ${held}, ${known}, tracker ok`]
  if (counted === 1) return ['busy', 'Alone here: open a second tab, add peers below, or run cargo run -p peer']
  return ['busy', counted ? `Connecting to some of ${counted - 1} other ${counted === 2 ? 'peer' : 'peers'}` : 'Asking the tracker who is here']
}

function showStatus () {
  const [light, words] = sentence()
  byId('light').className = light
  if (byId('sentence').textContent !== words) byId('sentence').textContent = words
  byId('address').textContent = easypeers.address
}

function fail (words) {
  byId('notice').textContent = words
  byId('notice').hidden = false
  byId('light').className = 'bad'
  byId('sentence').textContent = 'This page cannot be a peer.'
}

// ---------------------------------------------------------------- the table

const rows = new Map()

function showTable (nodes, links) {
  if (!byId('twin').open) return
  const count = address => {
    const known = links.filter(({ a, b }) => a === address || b === address).length
    return local.some(({ peer }) => peer.address === address) ? `${known}` : known ? `${known} or more` : '?'
  }
  for (const [address, row] of rows) {
    if (nodes.some(node => node.id === address)) continue
    row.remove()
    rows.delete(address)
  }
  for (const node of nodes) {
    if (!rows.has(node.id)) rows.set(node.id, byId('rows').appendChild(newRow(node.id)))
    const row = rows.get(node.id)
    const rtt = members.get(node.id)?.rtt ?? null
    const texts = [
      node.label === node.id.slice(0, 6) ? node.id : `${node.label} ${node.id}`,
      node.local ? 'browser, in this page' : node.kind, count(node.id), node.hops || '?', rtt === null ? '–' : rtt < 1 ? '< 1 ms' : `${Math.round(rtt)} ms`
    ]
    texts.forEach((text, at) => { if (row.cells[at].textContent !== `${text}`) row.cells[at].textContent = text })
    row.querySelector('.cut').hidden = node.hops !== 1
  }
}

function newRow (address) {
  const row = document.createElement('tr')
  for (let cell = 0; cell < 6; cell++) row.insertCell()
  const button = (text, words, act) => {
    const button = row.cells[5].appendChild(document.createElement('button'))
    button.type = 'button'
    button.textContent = text
    button.setAttribute('aria-label', `${words} ${address.slice(0, 6)}`)
    button.addEventListener('click', act)
    return button
  }
  button('Write', 'Write to', () => aimAt(address))
  button('Cut', 'Cut the link to', () => cut(easypeers.address, address)).className = 'cut'
  return row
}

// ---------------------------------------------------------------- peers

function options () {
  const maxPeers = Number(preferences.maxPeers)
  return { maxPeers: maxPeers >= 2 && maxPeers <= 64 ? maxPeers : 6, history: HISTORY, ...password && { password } }
}

function start (peer) {
  peer.on('connect', address => { learn(address, {}); refresh() })
  peer.on('disconnect', address => { if (members.has(address)) learn(address, { lost: 1 }); refresh() })
  if (paused) peer.pauseTrackers()
  return peer
}

function join () {
  for (const peer of everyPeer()) peer?.close()
  local = []
  members.clear()
  topic = topicOf()
  byId('topic').value = topic
  byId('link').textContent = linkOf(topic)
  drawQr(byId('qr'), linkOf(topic))
  showCode()
  chat.open(topic)
  joined = Date.now()
  easypeers = start(new Easypeers(topic, options()))
  easypeers.on('message', received)
  easypeers.on('state', refresh)
  easypeers.on('lagged', lost => news(`${lost} messages were lost: this page or a neighbour is too slow.`))
  globalThis.easypeers = easypeers
  refresh()
}

function add () {
  const wanted = Math.max(1, Math.min(12, Math.trunc(Number(byId('count').value)) || 1))
  const number = Math.min(wanted, MOST_LOCAL - local.length)
  for (let count = 0; count < number; count++) {
    local.push({ peer: start(new Easypeers(topic, options())), label: `peer ${++added}` })
  }
  news(number ? `${number} ${number === 1 ? 'peer' : 'peers'} started in this page.` : `${MOST_LOCAL} peers in one page are enough.`)
  refresh()
}

function removeHalf () {
  const gone = local.splice(0, Math.ceil(local.length / 2))
  for (const { peer } of gone) {
    members.delete(peer.address)
    removed.add(peer.address)
    peer.close()
  }
  news(`${gone.length} ${gone.length === 1 ? 'peer' : 'peers'} removed; their neighbours look for others.`)
  refresh()
}

/** Cuts the link between two peers, of which one must be in this page. */
async function cut (a, b) {
  const [peer, other] = everyPeer().some(peer => peer.address === a) ? [a, b] : [b, a]
  const done = await everyPeer().find(({ address }) => address === peer)?.disconnect(other)
  if (done) news(`The link to ${label(other)} is cut.`)
  refresh()
}

function pause () {
  paused = !paused
  for (const peer of everyPeer()) paused ? peer.pauseTrackers() : peer.resumeTrackers()
  byId('pause').setAttribute('aria-pressed', paused)
  byId('pause').textContent = paused ? 'Use the tracker again' : 'Pause the tracker'
  news(paused ? 'This page does without the tracker now.' : 'This page uses the tracker again.')
  refresh()
}

// ---------------------------------------------------------------- messages

function aimAt (address) {
  if (!address || address === easypeers.address) return chat.aim(null)
  chat.aim(address, members.get(address)?.name || local.find(({ peer }) => peer.address === address)?.label)
  byId('text').focus()
}

async function say (text, to) {
  const data = withName(preferences.name, text)
  if (to) {
    map.flow([paths.get(to) ?? [easypeers.address, to]])
    const receipt = await easypeers.send(to, data)
    // A round trip, also to those who are no neighbours.
    if (receipt.rtt !== undefined) learn(to, { rtt: receipt.rtt, hops: receipt.hops })
    refresh()
    return receipt
  }
  map.flow([...paths.values()])
  return easypeers.send(data)
}

function received (message) {
  const [name, text] = splitName(message.message)
  // By the author's clock, which may be another's.
  const took = Date.now() - message.time
  const late = message.time < joined - 500
  learn(message.from, { hops: message.hops, ...name && { name } })
  const path = paths.get(message.from) ?? [easypeers.address, message.from]
  map.flow([[...path].reverse()])
  chat.add({
    from: message.from,
    name,
    text: message.binary ? `${message.data.length} bytes` : text,
    time: late ? message.time : Date.now(),
    hops: message.hops,
    ...late ? { late } : took >= 0 && took < 60_000 && { ms: took },
    direct: message.direct,
    verified: message.verified
  })
  refresh()
}

// ---------------------------------------------------------------- this server

const EVERY = 2000
let last = null
const history = []

function uptime (seconds) {
  if (seconds < 120) return `${seconds} seconds`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} minutes`
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} hours` : `${Math.floor(seconds / 86400)} days`
}

function showServer (stats, at) {
  for (const id of ['connections', 'swarms', 'peers']) byId(id).textContent = stats[id]
  const rates = { announces: 'announces_total', offers: 'offers_relayed_total', answers: 'answers_relayed_total' }
  for (const [id, key] of Object.entries(rates)) {
    if (!last) continue
    const rate = Math.max(0, stats[key] - last.stats[key]) / ((at - last.at) / 1000)
    byId(id).textContent = rate >= 10 || rate === 0 ? Math.round(rate) : rate.toFixed(1)
    if (id === 'announces') history.push(rate)
  }
  history.splice(0, history.length - 60)
  const top = Math.max(1, ...history)
  byId('spark').firstElementChild.setAttribute('points',
    history.map((rate, at) => `${at * 120 / 59},${28 - rate / top * 26}`).join(' '))
  last = { stats, at }
  byId('uptime').textContent = stats.draining
    ? 'The server is shutting down.'
    : `Version ${stats.version}, up for ${uptime(stats.uptime_seconds)}.`
}

async function askServer () {
  if (!document.hidden) {
    try {
      const response = await fetch('/stats.json', { cache: 'no-store' })
      showServer(await response.json(), performance.now())
    } catch {
      last = null
      byId('uptime').textContent = 'The server does not answer; trying again.'
    }
    if (easypeers) refresh()
  }
  setTimeout(askServer, EVERY)
}

// ---------------------------------------------------------------- the start

byId('ws-url').textContent = ws
byId('here').hidden = !/^(localhost|127\.|\[::1\])/.test(location.hostname)
byId('name').value = preferences.name
byId('max-peers').value = preferences.maxPeers
byId('topic').value = topic
askServer()

try {
  ({ Easypeers } = await import('./easypeers.mjs'))
  join()
} catch (error) {
  fail(/no WebRTC/.test(error.message)
    ? 'This browser blocks WebRTC, so no peer can be reached. In Firefox: about:config, media.peerconnection.enabled. An add-on may do it too.'
    : `The peer did not start: ${error.message}. Reload the page; if that does not help, this browser may be too old for it.`)
}

if (easypeers) {
  byId('add').addEventListener('click', add)
  byId('half').addEventListener('click', removeHalf)
  byId('cut').addEventListener('click', () => {
    const neighbours = easypeers.peers()
    if (neighbours.length) cut(easypeers.address, neighbours[Math.floor(Math.random() * neighbours.length)].address)
  })
  byId('pause').addEventListener('click', pause)
  byId('twin').addEventListener('toggle', refresh)
  byId('show-code').addEventListener('click', () => {
    const shown = byId('code').hidden
    byId('code').hidden = !shown
    byId('show-code').setAttribute('aria-expanded', shown)
  })
  byId('topic-form').addEventListener('submit', event => {
    event.preventDefault()
    location.hash = encodeURIComponent(byId('topic').value.trim() || 'demo')
  })
  addEventListener('hashchange', join)
  byId('settings-form').addEventListener('submit', event => {
    event.preventDefault()
    preferences.name = byId('name').value.trim()
    preferences.maxPeers = Number(byId('max-peers').value)
    remember()
    for (const peer of everyPeer()) peer.maxPeers = options().maxPeers
    if (password !== byId('password').value) {
      password = byId('password').value
      join()
    }
    news('Settings applied.')
    refresh()
  })
  setInterval(() => { if (!document.hidden) refresh() }, 1000)
  console.log(`Easypeers: this page's peer is \`easypeers\`. Try
  easypeers.send('your message')
  easypeers.on('message', data => console.log(data.from, data.message))
  easypeers.peers()`)
}
