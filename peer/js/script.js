// The plain script. The next script of the page may say `new Easypeers(...)`, so this one waits for the
// WebAssembly, as the browser waits for the script itself.
import { initSync, Peer } from 'easypeers-wasm'
import { define, trackerOf } from './api.js'

const source = document.currentScript.src
const request = new XMLHttpRequest()
request.open('GET', new URL('easypeers.wasm', source), false)
// A synchronous request can only return text: each byte is the low half of a character.
request.overrideMimeType('text/plain; charset=x-user-defined')
request.send()
if (request.status !== 200) throw new Error(`easypeers.wasm: status ${request.status}`)
const bytes = Uint8Array.from(request.responseText, character => character.charCodeAt(0) & 0xff)
initSync({ module: bytes })

globalThis.Easypeers = define(Peer, trackerOf(source))
