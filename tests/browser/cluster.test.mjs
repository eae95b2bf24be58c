// Two trackers that act as one, over a Redis: real clients at one of them meet those at the other.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, newPeerId, running, standIn, startPeer, startTracker, until } from './harness.mjs'

const skip = standIn || running ? 'it needs trackers of its own' : false
// One browser and one site for both.
const [one, other] = [new Lab(), new Lab()]
const natives = []
let redis, folder
if (skip) {
  console.log(`cluster.test.mjs skipped: ${skip}`)
} else {
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'cluster-'))
    const socket = path.join(folder, 'redis.sock')
    redis = spawn('redis-server', ['--port', '0', '--save', '', '--dir', folder, '--unixsocket', socket], { stdio: 'ignore' })
    redis.once('error', error => { throw error })
    await until('Redis listens', () => existsSync(socket))
    process.env.EASYPEERS_CLUSTER_URL = `unix://${socket}`
    await one.start()
    other.tracker = await startTracker()
    Object.assign(other, { site: one.site, browser: one.browser, ws: other.tracker.ws })
    for (const { tracker } of [one, other]) {
      await until('the nodes know each other', async () =>
        /^easypeers_tracker_cluster_nodes 2$/m.test(await (await fetch(tracker.http + 'metrics')).text()))
    }
  })
  afterEach(async () => {
    await Promise.all(natives.splice(0).map(peer => peer.stop()))
    await one.clean()
    await other.clean()
  })
  after(async () => {
    await other.tracker?.stop()
    await one.stop()
    redis?.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })
}

async function native (tracker, topic, ...args) {
  const peer = await startPeer(tracker, topic, ...args)
  natives.push(peer)
  return peer
}

test("bittorrent-tracker's clients at two nodes talk both ways", { skip, timeout: 120_000 }, async () => {
  const infoHash = hex20()
  const peers = []
  for (const lab of [one, other]) {
    const { page } = await lab.open('bittorrent-tracker')
    const [id, say] = [newPeerId(), `greetings from node ${peers.length}`]
    await page.evaluate(o => startClient(o), { name: 'a', announce: lab.ws, infoHash, peerId: id, say })
    const log = () => page.evaluate(() => clients.a.log)
    await until('the tracker answers the announce', async () => (await log()).updates.length > 0)
    peers.push({ id, say, log, page })
  }
  for (const [me, you] of [peers, [...peers].reverse()]) {
    await until('the greeting', async () =>
      (await me.log()).received.some(({ from, text }) => from === you.id && text === you.say))
    const { warnings, errors } = await me.log()
    assert.deepEqual([warnings, errors], [[], []])
  }
  // Counts are those of both.
  await until('both are counted', async () => {
    await peers[0].page.evaluate(() => { clients.a.client.update() })
    return (await peers[0].log()).updates.at(-1).incomplete === 2
  })
})

test('webtorrent at one node downloads what one at the other seeds', { skip, timeout: 120_000 }, async () => {
  const seeder = await one.open('webtorrent')
  const text = 'across nodes '.repeat(10_000)
  const infoHash = await seeder.page.evaluate(([announce, text]) => new Promise(resolve =>
    client.seed(new File([text], 'file.txt'), { announce: [announce] }, torrent => resolve(torrent.infoHash))), [one.ws, text])
  const leecher = await other.open('webtorrent')
  const got = await leecher.page.evaluate(async ([infoHash, announce]) => {
    const torrent = client.add(infoHash, { announce: [announce] })
    await new Promise((resolve, reject) => {
      torrent.on('done', resolve)
      torrent.on('error', reject)
    })
    return new TextDecoder().decode(await torrent.files[0].arrayBuffer())
  }, [infoHash, other.ws])
  assert.equal(got, text)
})

test('a page of Easypeers 1 at one node and a native peer at the other talk', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const peer = await native(other.ws, topic, '--compat')
  const { page } = await one.open('original')
  const address = await page.evaluate(options => {
    globalThis.peer = new Original(options)
    return peer.start()
  }, { tracker: one.ws, topic })
  await peer.event('connect', { peer: address })
  await page.evaluate(() => peer.send('from the page'))
  assert.equal((await peer.event('message', { from: address })).data, 'from the page')
  peer.say('from the native peer')
  await until('the page hears it', () => page.evaluate(() =>
    peer.log.messages.some(({ message }) => message === 'from the native peer')))
  await page.evaluate(() => peer.stop())
})

test('a page at one node and native peers at both are one mesh', { skip, timeout: 180_000 }, async () => {
  const topic = hex20()
  const far = await native(other.ws, topic)
  const page = await one.browserPeer(topic)
  await page.meets(far.address)
  const near = await native(one.ws, topic)
  await near.event('connect')
  far.say('to everybody')
  await page.hears('to everybody', far.address)
  await near.event('message', { data: 'to everybody', from: far.address })
  await page.send('from the page')
  await far.event('message', { data: 'from the page', from: page.address })
  await near.event('message', { data: 'from the page', from: page.address })
})
