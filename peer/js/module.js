// The ES module: ready once it is imported.
import init, { Peer } from 'easypeers-wasm'
import { define, trackerOf } from './api.js'

await init({ module_or_path: new URL('easypeers.wasm', import.meta.url) })

export const Easypeers = define(Peer, trackerOf(import.meta.url))
export default Easypeers
