// The browser peer as pages see it: events, overloads, and what happens to a peer when its page is left, comes
// back or goes online. The mesh itself is the WebAssembly behind `Peer`.

/** Tells each peer in this page when the page is left, comes back or is online again. */
const living = new Set()
let listening = false

function listen () {
  if (listening || typeof globalThis.addEventListener !== 'function') return
  listening = true
  // A goodbye reaches neighbours at once. Without it they find out by their probes. What is called here, and the
  // promises that it settles, run before the page is gone.
  addEventListener('pagehide', () => living.forEach(life => life.leave()))
  addEventListener('pageshow', event => { if (event.persisted) living.forEach(life => life.comeBack()) })
  addEventListener('online', () => living.forEach(life => life.retry()))
  globalThis.document?.addEventListener('visibilitychange', () => {
    if (!document.hidden) living.forEach(life => life.retry())
  })
}

/** After `close()`, errors of what was under way interest nobody. */
const closed = () => {}

const whole = (name, value, least, most) => {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be a whole number from ${least} to ${most}`)
  }
  return value
}

const text = (name, value) => {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string`)
  return value
}

const hex = (name, value) => {
  if (!/^[0-9a-f]{40}$/i.test(text(name, value))) throw new TypeError(`${name} must be 40 hex digits`)
  return value.toLowerCase()
}

/** Text stays text. Everything made of bytes becomes a Uint8Array. */
function payload (data) {
  if (typeof data === 'string') return data
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  throw new TypeError('a message is a string, an ArrayBuffer or a view of one')
}

function seedOf (identity) {
  if (identity === undefined) return crypto.getRandomValues(new Uint8Array(32))
  if (!(identity instanceof Uint8Array) || identity.length !== 32) {
    throw new TypeError('identity must be a Uint8Array of 32 bytes')
  }
  return identity.slice()
}

function read (options, defaultTracker) {
  const { tracker, maxPeers, timeout, history, identifier, address, password, iceServers, relayOnly, compat } = options
  const trackers = [options.trackers ?? tracker ?? defaultTracker].flat()
  return {
    trackers: trackers.map(url => text('a tracker', url)),
    maxPeers: maxPeers === undefined ? undefined : whole('maxPeers', maxPeers, 2, 64),
    timeout: timeout === undefined ? undefined : whole('timeout', timeout, 1, 2 ** 31),
    history: history === undefined ? undefined : whole('history', history, 0, 300_000),
    identifier: identifier === undefined ? undefined : hex('identifier', identifier),
    address: address === undefined ? undefined : hex('address', address),
    password: password === undefined ? undefined : text('password', password),
    iceServers: iceServers && JSON.stringify(iceServers),
    relayOnly,
    compat
  }
}

/**
 * Makes the class.
 * @param Peer the WebAssembly's class
 * @param defaultTracker where peers meet when no tracker is given
 */
export function define (Peer, defaultTracker) {
  return class Easypeers {
    #topic
    #options
    #seed
    #peer
    #listeners = new Map()
    /** Settings that were set and are not in force yet. */
    #set = {}
    #paused = false
    #left = false
    #life = {
      leave: () => {
        this.#left = true
        this.#peer.close()
      },
      // The page comes back from the cache of pages that were left.
      comeBack: () => {
        this.#left = false
        this.#start()
      },
      // The network may be back, and timers run on time again.
      retry: () => {
        if (this.#paused || this.#left || this.#peer.status().trackers > 0) return
        this.#peer.useTrackers(true).catch(closed)
      }
    }

    constructor (topic, options = {}) {
      this.#topic = text('topic', topic)
      this.#options = read(options, defaultTracker)
      this.#seed = seedOf(options.identity)
      this.#start()
      living.add(this.#life)
      listen()
    }

    #start () {
      this.#peer = new Peer(this.#topic, this.#options, this.#seed,
        (name, value) => this.#emit(name, value))
      if (this.#paused) this.#peer.useTrackers(false).catch(closed)
    }

    #emit (name, value) {
      for (const { callback, once } of [...this.#listeners.get(name) ?? []]) {
        if (once) this.off(name, callback)
        try {
          callback.call(this, value)
        } catch (error) {
          // An error of one listener must not keep the others from running.
          reportError(error)
        }
      }
    }

    #listen (name, callback, once) {
      if (typeof callback !== 'function') throw new TypeError('a listener must be a function')
      if (!this.#listeners.has(name)) this.#listeners.set(name, [])
      this.#listeners.get(name).push({ callback, once })
      return this
    }

    on (name, callback) { return this.#listen(name, callback, false) }
    once (name, callback) { return this.#listen(name, callback, true) }

    off (name, callback) {
      const kept = callback ? (this.#listeners.get(name) ?? []).filter(other => other.callback !== callback) : []
      this.#listeners.set(name, kept)
      return this
    }

    send (...args) {
      if (args.length < 2) return this.#peer.broadcast(payload(args[0]))
      const [to, data] = [args[0], payload(args[1])]
      if (!Array.isArray(to)) return this.#peer.direct(hex('address', to), data)
      const addresses = to.map(address => hex('address', address))
      return Promise.all(addresses.map(address => this.#peer.direct(address, data)))
    }

    /** Takes a setting. It can be read back at once and is in force a little later. */
    #change (name, value, work) {
      this.#set[name] = value
      this.#options[name] = value
      const settled = () => { if (this.#set[name] === value) delete this.#set[name] }
      work.then(settled, settled)
    }

    get address () { return this.#set.address ?? this.#peer.address }
    set address (address) { this.#change('address', hex('address', address), this.#peer.setAddress(address)) }

    get identity () { return this.#seed.slice() }
    set identity (identity) {
      this.#seed = seedOf(identity)
      delete this.#options.address
      this.#peer.setIdentity(this.#seed).catch(closed)
    }

    get identifier () { return this.#set.identifier ?? this.#peer.identifier }
    set identifier (identifier) {
      this.#change('identifier', hex('identifier', identifier), this.#peer.setIdentifier(identifier))
    }

    get maxPeers () { return this.#set.maxPeers ?? this.#peer.maxPeers }
    set maxPeers (maxPeers) {
      this.#change('maxPeers', whole('maxPeers', maxPeers, 2, 64), this.#peer.setMaxPeers(maxPeers))
    }

    get timeout () { return this.#set.timeout ?? this.#peer.timeout }
    set timeout (timeout) {
      this.#change('timeout', whole('timeout', timeout, 1, 2 ** 31), this.#peer.setTimeout(timeout))
    }

    get wireCount () { return this.#peer.wireCount }
    peers () { return this.#peer.peers() }
    stats () { return this.#peer.stats() }
    status () { return this.#peer.status() }

    disconnect (address) { return this.#peer.disconnect(hex('address', address)) }

    pauseTrackers () {
      this.#paused = true
      return this.#peer.useTrackers(false)
    }

    resumeTrackers () {
      this.#paused = false
      return this.#peer.useTrackers(true)
    }

    close () {
      living.delete(this.#life)
      return this.#peer.close()
    }
  }
}

/** The tracker on the host of a script, if there is one. */
export function trackerOf (script) {
  const { protocol, host } = new URL(script, 'file:///')
  if (protocol === 'https:') return `wss://${host}`
  return protocol === 'http:' ? `ws://${host}` : 'ws://localhost:3000'
}
