// A page of somebody else that uses the browser peer: the tracker's origin is in the fragment.
const { Easypeers } = await import(`${location.hash.slice(1)}easypeers.mjs`)

const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
const sha256 = async bytes => hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))

globalThis.log = { connected: [], disconnected: [], messages: [], states: [], at: {} }
globalThis.join = (topic, options) => {
  globalThis.easypeers = new Easypeers(topic, options)
  easypeers.on('connect', peer => log.connected.push(peer))
  easypeers.on('disconnect', peer => { log.disconnected.push(peer); log.at[peer] = Date.now() })
  easypeers.on('state', state => log.states.push(state))
  easypeers.on('message', async ({ message, data, ...rest }) => {
    log.messages.push({ ...rest, bytes: data.length, text: data.length > 200 ? await sha256(data) : message })
  })
  return easypeers.address
}
/** Bytes that look like nothing, the same for one seed. */
globalThis.bytes = (seed, length) => {
  const bytes = new Uint8Array(length)
  for (let at = 0, state = seed; at < length; at++) {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}
globalThis.sha256 = sha256
globalThis.ready = true
