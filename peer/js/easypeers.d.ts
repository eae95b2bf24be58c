/** What a message is made of: text, or bytes. */
export type Data = string | ArrayBuffer | ArrayBufferView

export interface Message {
  /** The text; of a message of bytes, these decoded as UTF-8. */
  message: string
  /** The author's address, 40 hex digits. */
  from: string
  /** The message's id, the same for every receiver, 40 hex digits. */
  id: string
  data: Uint8Array
  /** Sent as bytes, not as text. */
  binary: boolean
  /** Sent to this peer alone, and sealed for it. */
  direct: boolean
  /** Whether the author's signature was checked. `false` only with `compat`: anybody may have written it. */
  verified: boolean
  /** Links that it came along; 1 from a neighbour. */
  hops: number
  /** Milliseconds since 1970 when it was sent, by its author's clock. */
  time: number
}

export interface Receipt {
  /** `sent`: to a peer of Easypeers 1, which acknowledges nothing. */
  result: 'delivered' | 'unreachable' | 'timeout' | 'sent'
  /** Links that it went along. With `delivered` only. */
  hops?: number
  /** Milliseconds from sending to acknowledgement. With `delivered` only. */
  rtt?: number
}

export interface Status {
  state: 'connecting' | 'joined' | 'degraded' | 'offline'
  /** Why, in words. */
  reason: string
  links: number
  /** Trackers that are connected. */
  trackers: number
}

/** A neighbour. */
export interface PeerInfo {
  address: string
  /** Milliseconds since the link came up. */
  up: number
  /** Milliseconds of the last ping's round trip. */
  rtt: number | null
  /** Whether this peer made the offer. */
  offered: boolean
  /** Whether it speaks only the protocol of Easypeers 1. */
  compat: boolean
  /** Whether it is a page in a browser, by its own word. */
  browser: boolean
}

/** Counts since the start, and sizes now. */
export interface Stats {
  links: number
  /** Members of the swarm, this peer included, as the tracker counts that knows most. */
  members: number | null
  linksOpened: number
  connectionsCreated: number
  messagesSent: number
  messagesReceived: number
  messagesForwarded: number
  duplicates: number
  rejected: number
  dropped: number
  bytesSent: number
  bytesReceived: number
}

export interface IceServer {
  urls: string | string[]
  username?: string
  credential?: string
}

export interface Options {
  /** Links to keep, 2 to 64; default 6. */
  maxPeers?: number
  /** Milliseconds between two announces, unless the tracker asks for another; default 30,000. */
  timeout?: number
  /** Milliseconds of what was said before this peer came that it wants to hear, at most 300,000; default 0. */
  history?: number
  /** WebSocket URLs. Default: the host that the script came from. */
  trackers?: string | string[]
  /** As `trackers`, for those who know the original. */
  tracker?: string
  /** The swarm, 40 hex digits; default the SHA-1 of `easypeers-` and the topic. */
  identifier?: string
  /** Who this peer is: 32 secret bytes; default random. */
  identity?: Uint8Array
  /** 40 hex digits; another than that of `identity` only with `compat`. */
  address?: string
  /** Only peers with the same password are let in, and let us in. */
  password?: string
  /** Default: what the tracker's `/ice.json` names. */
  iceServers?: IceServer[]
  /** Use TURN servers only. */
  relayOnly?: boolean
  /** Speaks to peers of Easypeers 1 as well, whose messages nobody can verify. */
  compat?: boolean
}

export interface Events {
  /** A link to this address is up. */
  connect: string
  /** The link to this address is gone. */
  disconnect: string
  message: Message
  state: Status
  /** So many messages or events were lost, since the page or a neighbour was too slow. */
  lagged: number
}

/** A peer in the mesh of a topic. It runs until `close()` or until its page is gone. */
export class Easypeers {
  /** @throws {TypeError | RangeError | Error} for options that cannot work */
  constructor (topic: string, options?: Options)

  on<Name extends keyof Events> (name: Name, callback: (value: Events[Name]) => void): this
  once<Name extends keyof Events> (name: Name, callback: (value: Events[Name]) => void): this
  /** Removes one listener, or all of this name. */
  off<Name extends keyof Events> (name: Name, callback?: (value: Events[Name]) => void): this

  /** To everybody; the message's id once it is on its way. Waits up to 10 s for a first link. */
  send (data: Data): Promise<string>
  /** To one member, so that only it can read it; its receipt. */
  send (address: string, data: Data): Promise<Receipt>
  send (addresses: string[], data: Data): Promise<Receipt[]>

  /** 40 hex digits. */
  address: string
  /** The swarm, 40 hex digits; a new one leaves one swarm for another. */
  identifier: string
  /** 32 secret bytes. Anyone who has them can pose as this peer. */
  identity: Uint8Array
  maxPeers: number
  /** Milliseconds between two announces. */
  timeout: number
  /** Links that are up. */
  readonly wireCount: number

  peers (): PeerInfo[]
  stats (): Stats
  status (): Status

  /** Cuts the link to a neighbour, as a failing network would; whether there was one. */
  disconnect (address: string): Promise<boolean>
  /** Leaves the trackers alone: the mesh keeps itself up meanwhile. */
  pauseTrackers (): Promise<void>
  resumeTrackers (): Promise<void>

  /** Says goodbye to neighbours and trackers, and ends. */
  close (): Promise<void>
}

export default Easypeers
