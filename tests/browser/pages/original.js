// A peer as Easypeers 1 is one on the wire: plain browser WebRTC, the BitTorrent
// handshake, `sw_easypeers` and its certificates. Written from docs/peer-protocol.md,
// without any of the original's code. Bad certificates are dropped, what is
// wrong otherwise is an error of the page.

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })
const NUMBER = 3 // the original's own number for sw_easypeers

const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
const unhex = text => Uint8Array.from(text.match(/../g), pair => parseInt(pair, 16))
const binary = id => String.fromCharCode(...unhex(id))
const unbinary = text => hex(Uint8Array.from(text, char => char.charCodeAt(0)))
const random = length => crypto.getRandomValues(new Uint8Array(length))
const digest = async (name, bytes) => new Uint8Array(await crypto.subtle.digest(name, bytes))
export const swarm = async topic => hex(await digest('SHA-1', encoder.encode('easypeers-' + topic)))

function concat (...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

// ---------------------------------------------------------------- certificates

const number = bytes => bytes.length ? BigInt('0x' + hex(bytes)) : 0n

function power (base, exponent, modulus) {
  let result = 1n
  for (base %= modulus; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = result * base % modulus
    base = base * base % modulus
  }
  return result
}

function inverse (value, modulus) {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n]
  while (b) [a, b, x, y] = [b, a % b, y, x - a / b * y]
  if (a !== 1n) throw new Error('no inverse')
  return (x % modulus + modulus) % modulus
}

function below (limit) {
  const bytes = limit.toString(16).length / 2 + 8
  return 2n + number(random(bytes | 0)) % (limit - 2n)
}

function isPrime (value) {
  for (const small of [2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n]) {
    if (value % small === 0n) return value === small
  }
  let odd = value - 1n
  let twos = 0
  for (; !(odd & 1n); odd >>= 1n) twos++
  witness: for (let round = 0; round < 24; round++) {
    let x = power(below(value - 1n), odd, value)
    if (x === 1n || x === value - 1n) continue
    for (let i = 1; i < twos; i++) {
      x = x * x % value
      if (x === value - 1n) continue witness
    }
    return false
  }
  return true
}

function prime (bits) {
  for (;;) {
    const bytes = random(bits / 8)
    bytes[0] |= 0xc0
    bytes[bytes.length - 1] |= 1
    const value = number(bytes)
    if (isPrime(value)) return value
  }
}

function makeKey () {
  const n = prime(256) * prime(256)
  return { n, n2: n * n, g: n + 1n }
}

const challenge = async text => number(await digest('SHA-256', encoder.encode(text)))

async function prove (key, text) {
  const [r, omega] = [below(key.n), below(key.n)]
  const cipher = power(key.g, number(encoder.encode(text)), key.n2) * power(r, key.n, key.n2) % key.n2
  const a = power(omega, key.n, key.n2)
  const e = await challenge(String(a))
  const z = omega * power(r, e, key.n) % key.n
  return { cipher: String(cipher), proof: { a: String(a), e: String(e), z: String(z) } }
}

async function holds (pubkey, { cipher, proof }, text) {
  const [n, n2, g] = [BigInt(pubkey.n), BigInt(pubkey._n2), BigInt(pubkey.g)]
  const e = BigInt(proof.e)
  if (await challenge(proof.a) !== e) return false
  const hidden = power(g, number(encoder.encode(text)), n2)
  const u = BigInt(cipher) * inverse(hidden, n2) % n2
  return power(BigInt(proof.z), n, n2) === BigInt(proof.a) * power(u, e, n2) % n2
}

async function certify (key, { id, from, message }) {
  return {
    id: await prove(key, id),
    from: await prove(key, from),
    message: await prove(key, message),
    pubkey: { n: String(key.n), _n2: String(key.n2), g: String(key.g) }
  }
}

async function isCertified ({ id, from, message, certificate }) {
  try {
    const { pubkey } = certificate
    for (const [part, text] of [['id', id], ['from', from], ['message', message]]) {
      if (!await holds(pubkey, certificate[part], text)) return false
    }
    return true
  } catch {
    return false
  }
}

// ---------------------------------------------------------------- one wire

class Wire {
  buffer = new Uint8Array(0)
  greeted = false
  shaken = false
  theirs = 0 // their number for sw_easypeers

  constructor (peer, connection, channel, offered) {
    Object.assign(this, { peer, connection, channel })
    channel.binaryType = 'arraybuffer'
    channel.onmessage = ({ data }) => {
      if (!offered) this.shake()
      this.read(new Uint8Array(data))
    }
    channel.onclose = () => peer.lost(this)
    if (offered) channel.onopen = () => this.shake()
  }

  // Whoever answered speaks second: Chromium loses what is sent on a channel of the other side before it is really open.
  shake () {
    if (this.greeted) return
    this.greeted = true
    this.write(concat(
      Uint8Array.of(19), encoder.encode('BitTorrent protocol'), Uint8Array.of(0, 0, 0, 0, 0, 16, 0, 0),
      unhex(this.peer.identifier), unhex(this.peer.address)))
  }

  write (bytes) {
    if (this.channel.readyState === 'open') this.channel.send(bytes)
  }

  // The five bytes of the header are a message of their own, as the original has it.
  extended (id, payload) {
    const header = new Uint8Array(5)
    new DataView(header.buffer).setUint32(0, payload.length + 2)
    header[4] = 20
    this.write(header)
    this.write(concat(Uint8Array.of(id), payload))
  }

  say (message) {
    const json = encoder.encode(JSON.stringify(message))
    this.extended(this.theirs, concat(encoder.encode(json.length + ':'), json))
  }

  read (bytes) {
    this.buffer = concat(this.buffer, bytes)
    if (!this.shaken) {
      if (this.buffer.length < 68) return
      const handshake = this.take(68)
      if (hex(handshake.slice(28, 48)) !== this.peer.identifier) return this.close()
      this.address = hex(handshake.slice(48))
      this.shaken = true
      const extensions = 'd4:keys9:SEA Pairs1:md11:lt_donthavei2e12:sw_easypeersi3e11:ut_metadatai1eee'
      this.extended(0, encoder.encode(extensions))
    }
    while (this.buffer.length >= 4) {
      const length = new DataView(this.buffer.buffer, this.buffer.byteOffset).getUint32(0)
      if (this.buffer.length < 4 + length) return
      const message = this.take(4 + length).slice(4)
      if (message[0] === 20) this.onExtended(message[1], message.slice(2))
      else if (length > 0) throw new Error(`message of type ${message[0]}`)
    }
  }

  take (length) {
    const taken = this.buffer.slice(0, length)
    this.buffer = this.buffer.slice(length)
    return taken
  }

  onExtended (id, payload) {
    if (id === 0) {
      const [, theirs] = /12:sw_easypeersi(\d+)e/.exec(new TextDecoder('latin1').decode(payload)) ?? []
      this.theirs = Number(theirs ?? 0)
      if (this.theirs > 0) this.peer.met(this)
    } else if (id === NUMBER) {
      const text = decoder.decode(payload)
      const at = text.indexOf(':')
      if (encoder.encode(text.slice(at + 1)).length !== Number(text.slice(0, at))) throw new Error('wrong length prefix: ' + text)
      this.peer.heard(this, JSON.parse(text.slice(at + 1)))
    } else {
      throw new Error(`extended message ${id}`)
    }
  }

  close () {
    this.connection.close()
    this.peer.lost(this)
  }
}

// ---------------------------------------------------------------- the peer

export class Original {
  wires = []
  attempts = new Set() // peers that an answer was sent to
  offers = new Map()
  seen = new Set()
  log = { connected: [], messages: [], dropped: 0, again: 0, offered: [], answered: [] }

  /**
   * `only`: peers to connect to; others are left alone. `offers`: how many it makes. `answers`: whether it does;
   * one that does not is here after the tracker counts somebody else, since offers are made once and kept for nobody.
   * `hides`: whether its candidates name no address but `.local` names, as those of a page without a camera do
   * (written here, since a browser would announce such names to the network).
   */
  constructor ({ tracker, topic, address = hex(random(20)), only = null, offers = 5, answers = true, hides = false }) {
    Object.assign(this, { tracker, topic, address, only, count: offers, answers, hides })
  }

  description ({ type, sdp }) {
    const name = (_, before) => `${before}${crypto.randomUUID()}.local`
    return { type, sdp: this.hides ? sdp.replace(/(a=candidate:\S+ \d+ \w+ \d+ )\S+/g, name) : sdp }
  }

  async start () {
    this.key = makeKey()
    this.identifier = await swarm(this.topic)
    this.socket = new WebSocket(this.tracker)
    await new Promise((resolve, reject) => Object.assign(this.socket, { onopen: resolve, onerror: reject }))
    this.socket.onmessage = ({ data }) => this.onTracker(JSON.parse(data))
    if (!this.answers) await this.somebody()
    await this.announce('started')
    return this.address
  }

  async somebody () {
    for (let members = 0; members === 0;) {
      const counted = new Promise(resolve => { this.counted = resolve })
      this.socket.send(JSON.stringify({ action: 'scrape', info_hash: binary(this.identifier) }))
      members = await counted
      if (members === 0) await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  tell (message) {
    this.socket.send(JSON.stringify({
      ...message, action: 'announce', info_hash: binary(this.identifier), peer_id: binary(this.address)
    }))
  }

  async announce (event) {
    const offers = []
    for (let i = 0; i < this.count; i++) {
      const connection = new RTCPeerConnection()
      const channel = connection.createDataChannel(hex(random(20)))
      await connection.setLocalDescription()
      await gathered(connection)
      const id = hex(random(20))
      this.offers.set(id, { connection, channel })
      offers.push({ offer: this.description(connection.localDescription), offer_id: binary(id) })
    }
    this.tell({ numwant: this.count, uploaded: 0, downloaded: 0, left: null, event, offers })
  }

  wants (peer) {
    return (!this.only || this.only.includes(peer)) &&
      !this.attempts.has(peer) && !this.wires.some(wire => wire.from === peer)
  }

  async onTracker (message) {
    if (message['failure reason']) throw new Error(message['failure reason'])
    if (message.action === 'scrape') {
      const { complete, incomplete } = message.files[binary(this.identifier)] ?? { complete: 0, incomplete: 0 }
      return this.counted(complete + incomplete)
    }
    if (!message.offer && !message.answer) return
    const peer = unbinary(message.peer_id)
    if (!this.wants(peer)) return
    if (message.offer) {
      if (!this.answers) return
      this.attempts.add(peer)
      const connection = new RTCPeerConnection()
      connection.ondatachannel = ({ channel }) => this.wire(peer, connection, channel, false)
      connection.onconnectionstatechange = () => {
        if (connection.connectionState === 'failed') this.attempts.delete(peer)
      }
      await connection.setRemoteDescription(message.offer)
      await connection.setLocalDescription()
      await gathered(connection)
      this.log.answered.push(peer)
      this.tell({
        to_peer_id: message.peer_id,
        answer: this.description(connection.localDescription),
        offer_id: message.offer_id
      })
    } else {
      const offer = this.offers.get(unbinary(message.offer_id))
      if (!offer) return
      this.offers.delete(unbinary(message.offer_id))
      this.log.offered.push(peer)
      this.wire(peer, offer.connection, offer.channel, true)
      await offer.connection.setRemoteDescription(message.answer)
    }
  }

  wire (from, connection, channel, offered) {
    const wire = new Wire(this, connection, channel, offered)
    wire.from = from
    this.wires.push(wire)
  }

  met (wire) {
    this.log.connected.push(wire.address)
  }

  lost (wire) {
    this.wires = this.wires.filter(other => other !== wire)
  }

  speaking () {
    return this.wires.filter(wire => wire.theirs > 0 && wire.channel.readyState === 'open')
  }

  async heard (wire, message) {
    if (!await isCertified(message)) {
      this.log.dropped++
      return
    }
    if (this.seen.has(message.id)) {
      this.log.again++
      return
    }
    this.seen.add(message.id)
    if (message.to) {
      if (message.to.includes(this.address)) {
        this.log.messages.push(message)
        return
      }
    } else {
      this.log.messages.push(message)
    }
    message = { ...message, has: [...message.has, this.address] }
    for (const other of this.speaking()) {
      if (other.address !== message.from && !message.has.includes(other.address)) other.say(message)
    }
  }

  async send (text, to) {
    const bytes = Uint8Array.from(text, char => char.charCodeAt(0) & 255)
    const message = {
      id: hex(await digest('SHA-1', bytes)) + Math.random(),
      has: this.speaking().map(wire => wire.address),
      message: text,
      from: this.address,
      ...to && { to: [to] }
    }
    message.certificate = await certify(this.key, message)
    // To a neighbour; else to all, who pass it on.
    const wires = this.speaking()
    const direct = wires.filter(wire => wire.address === to)
    for (const wire of direct.length > 0 ? direct : wires) wire.say(message)
    return message.id
  }

  stop () {
    this.socket.close()
    for (const wire of this.wires) wire.close()
  }
}

async function gathered (connection) {
  while (connection.iceGatheringState !== 'complete') {
    await new Promise(resolve => connection.addEventListener('icegatheringstatechange', resolve, { once: true }))
  }
}
