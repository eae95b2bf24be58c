/** The content of a message: text or bytes. */
export type Data = string | ArrayBuffer | ArrayBufferView

export interface Message {
  /** The text. For a message of bytes, the bytes decoded as UTF-8. */
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
  /** Whether the author's signature was checked. `false` only with `compat`: then anybody may have written it. */
  verified: boolean
  /** Links that it travelled along. 1 from a neighbour. */
  hops: number
  /** When it was sent, in milliseconds since 1970 by its author's clock. */
  time: number
}

export interface Receipt {
  /** `sent` means that it went to a peer of Easypeers 1, which acknowledges nothing. */
  result: 'delivered' | 'unreachable' | 'timeout' | 'sent'
  /** Links that it travelled along. Only with `delivered`. */
  hops?: number
  /** Milliseconds from sending to acknowledgement. Only with `delivered`. */
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
  /** Round trip of the last ping, in milliseconds. */
  rtt: number | null
  /** Whether this peer made the offer. */
  offered: boolean
  /** Whether it speaks only the protocol of Easypeers 1. */
  compat: boolean
  /** Whether it says that it is a page in a browser. */
  browser: boolean
}

/** Counts since the start, and sizes now. */
export interface Stats {
  links: number
  /** Members of the swarm, this peer included: the highest count of any tracker. */
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
  /** Links to keep, from 2 to 64. Default: 6. */
  maxPeers?: number
  /** Milliseconds between two announces, unless the tracker asks for another interval. Default: 30,000. */
  timeout?: number
  /** How far back to replay messages from before joining, in milliseconds, at most 300,000. Default: 0. */
  history?: number
  /** WebSocket URLs. Default: the host that the script came from. */
  trackers?: string | string[]
  /** The same as `trackers`, under its name in Easypeers 1. */
  tracker?: string
  /** The swarm, 40 hex digits. Default: the SHA-1 of `easypeers-` and the topic. */
  identifier?: string
  /** Who this peer is: 32 secret bytes. Default: random. */
  identity?: Uint8Array
  /** 40 hex digits. Only with `compat` may it differ from the address of `identity`. */
  address?: string
  /** Only peers that use the same password can connect. */
  password?: string
  /** Default: what the tracker's `/ice.json` names. */
  iceServers?: IceServer[]
  /** Use TURN servers only. */
  relayOnly?: boolean
  /** Connects to peers of Easypeers 1 as well. Nobody can verify their messages. */
  compat?: boolean
}

export interface Events {
  /** A link to this address is up. */
  connect: string
  /** The link to this address is gone. */
  disconnect: string
  message: Message
  state: Status
  /** This many messages or events were lost, because the page or a neighbour was too slow. */
  lagged: number
}

/** A peer in the mesh of a topic. It runs until `close()` or until its page is gone. */
export class Easypeers {
  /** @throws {TypeError | RangeError | Error} for options that cannot work */
  constructor (topic: string, options?: Options)

  on<Name extends keyof Events> (name: Name, callback: (value: Events[Name]) => void): this
  once<Name extends keyof Events> (name: Name, callback: (value: Events[Name]) => void): this
  /** Removes one listener, or all listeners of this event. */
  off<Name extends keyof Events> (name: Name, callback?: (value: Events[Name]) => void): this

  /** Sends to everybody. Resolves to the message's id once it is on its way. Waits up to 10 s for a first link. */
  send (data: Data): Promise<string>
  /** Sends to one member. Only that member can read it. Resolves to its receipt. */
  send (address: string, data: Data): Promise<Receipt>
  send (addresses: string[], data: Data): Promise<Receipt[]>

  /** 40 hex digits. */
  address: string
  /** The swarm, 40 hex digits. Setting it moves this peer to another swarm. */
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

  /** Cuts the link to a neighbour, as a failing network would. Resolves to whether there was one. */
  disconnect (address: string): Promise<boolean>
  /** Stops using the trackers. The mesh keeps itself up meanwhile. */
  pauseTrackers (): Promise<void>
  resumeTrackers (): Promise<void>

  /** Says goodbye to neighbours and trackers, and ends. */
  close (): Promise<void>
}

export default Easypeers
