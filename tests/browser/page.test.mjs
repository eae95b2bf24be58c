// The tracker's own page: what it says, every control of it, what it keeps, and how it looks.
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import jsQR from 'jsqr'
import { Lab, hex20, newPeerId, standIn, startPeer, until } from './harness.mjs'

const skip = standIn ? 'the stand-in has no page of its own' : false
const lab = new Lab()
const natives = []
if (skip) {
  console.log(`page.test.mjs skipped: ${skip}`)
} else {
  before(() => lab.start())
  afterEach(async () => {
    await Promise.all(natives.splice(0).map(peer => peer.stop()))
    await lab.clean()
  })
  after(() => lab.stop())
}

const text = (page, id) => page.locator(`#${id}`).innerText()
const status = (page, matches) => until(`the page says ${matches}`, async () => matches.test(await text(page, 'sentence')))
const says = (page, words) => until(`the page says ${words}`, async () => (await text(page, 'news')).includes(words))
const heard = (page, words) => until(`the conversation has ${words}`, async () => (await text(page, 'messages')).includes(words))
const links = page => page.evaluate(() => easypeers.wireCount)
const number = async (page, id) => {
  const shown = (await text(page, id)).trim()
  return /\d/.test(shown) ? Number(shown.replace(/[^\d.]/g, '')) : NaN
}
const numbers = async page =>
  ({ peers: await number(page, 'peers'), swarms: await number(page, 'swarms'), connections: await number(page, 'connections') })
const shown = page => until('the three counts are numbers', async () =>
  Object.values(await numbers(page)).every(value => Number.isInteger(value)))

test('the page tells the WebSocket URL and live counts', { skip }, async () => {
  const { page } = await lab.ownPage(hex20())
  const { host } = new URL(lab.tracker.http)
  assert.equal(await text(page, 'ws-url'), `ws://${host}`)
  // Without a certificate of its own there is nothing to trust.
  assert.equal(await page.locator('a[href="/trust"]').isVisible(), false)
  await until('the page itself is counted', async () => (await numbers(page)).peers >= 1)
  const quiet = await numbers(page)

  const infoHash = hex20()
  const members = [await lab.open('bittorrent-tracker'), await lab.open('bittorrent-tracker')]
  for (const { page } of members) {
    await page.evaluate(o => startClient(o), { name: 'a', announce: lab.ws, infoHash, peerId: newPeerId() })
  }
  await until('two peers, one swarm and two connections more', async () => {
    const now = await numbers(page)
    return now.peers >= quiet.peers + 2 && now.swarms >= quiet.swarms + 1 && now.connections >= quiet.connections + 2
  })
  for (const { page } of members) await page.evaluate(() => clients.a.client.destroy())
  await until('the counts fall back', async () => {
    const now = await numbers(page)
    return now.peers <= quiet.peers && now.swarms <= quiet.swarms && now.connections <= quiet.connections
  })
})

test('two pages and a terminal are one mesh', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const { page: left } = await lab.ownPage(topic)
  await status(left, /^Alone here: open a second tab/)
  const { page: right } = await lab.ownPage(topic)
  const peer = await startPeer(lab.ws, topic)
  natives.push(peer)
  for (const page of [left, right]) await status(page, /^Connected: 2 of 6 links, 2 peers known, tracker ok$/)

  // The console.
  await left.evaluate(() => easypeers.send('from the console'))
  await heard(right, 'from the console')
  await peer.event('message', { data: 'from the console' })
  // Text of others is text.
  peer.say('<b onclick="alert(1)">bold</b> https://example.org ' + 'long '.repeat(200))
  await heard(left, '<b onclick="alert(1)">bold</b> https://example.org')
  assert.equal(await left.locator('#messages a, #messages b:not(.who b)').count(), 0)
  await left.getByRole('button', { name: 'more' }).click()
  await heard(left, 'long '.repeat(200).trim())
  // And not endless text.
  peer.say('y'.repeat(5000))
  await left.getByRole('button', { name: 'more' }).click()
  await heard(left, 'y'.repeat(4000) + '… (1000 more characters are not shown)')

  // The map's twin says who is there.
  await left.locator('#twin summary').click()
  const row = left.locator('#rows tr', { hasText: peer.address })
  await until('the table knows the native peer', async () => /native/.test(await row.innerText()))
  assert.match(await left.locator('#rows tr', { hasNotText: peer.address }).innerText(), /browser/)
  await row.getByRole('button', { name: 'Write' }).click()
  await left.locator('#text').fill('only for the terminal')
  await left.keyboard.press('Enter')
  await peer.event('message', { data: 'only for the terminal', direct: true })
  await until('a round trip is known', async () => /\d ms/.test(await row.innerText()))
})

/** A press of a button, by mouse or by keyboard. */
const press = {
  mouse: locator => locator.click(),
  keyboard: async locator => {
    await locator.focus()
    await locator.page().keyboard.press('Enter')
  }
}

for (const [by, use] of Object.entries(press)) {
  test(`every control, by ${by}`, { skip, timeout: 280_000 }, async () => {
    const topic = hex20()
    const { page } = await lab.ownPage(topic)
    const { page: other } = await lab.ownPage(topic)
    await status(page, /^Connected: 1 of 6/)
    const clipboard = () => page.evaluate(() => navigator.clipboard.readText())

    // The link to share, as text and as a code.
    await use(page.locator('#share'))
    await until('the link is copied', async () => (await text(page, 'share')) === 'Copied')
    assert.equal(await clipboard(), `${lab.tracker.http}#${topic}`)
    await use(page.locator('#show-code'))
    const code = await page.locator('#qr').evaluate(canvas => {
      const { width, height } = canvas
      return { width, height, data: Array.from(canvas.getContext('2d').getImageData(0, 0, width, height).data) }
    })
    assert.equal(jsQR(Uint8ClampedArray.from(code.data), code.width, code.height)?.data, `${lab.tracker.http}#${topic}`)
    await use(page.locator('#show-code'))
    assert.equal(await page.locator('#code').isVisible(), false)

    // Peers in the page.
    await page.locator('#count').fill('4')
    await use(page.locator('#add'))
    await says(page, '4 peers started')
    await status(page, /^Connected: [3-5] of 6 links, 5 peers known/)
    await status(other, /^Connected: [3-5] of 6/)
    await use(page.locator('#half'))
    await says(page, '2 peers removed')
    await status(page, /3 peers known/)

    // A cut link comes back, or another one does.
    await use(page.locator('#cut'))
    await says(page, 'is cut')
    await until('it heals', async () => await links(page) >= 3)

    // Without the tracker.
    await use(page.locator('#pause'))
    await status(page, /^Tracker paused here: 3 of 6 links, 3 peers known/)
    assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true')
    await page.locator('#text').fill('without a tracker')
    await use(page.locator('#compose button', { hasText: 'Send' }))
    await heard(other, 'without a tracker')
    await use(page.locator('#pause'))
    await status(page, /tracker ok$/)

    // A direct message, from the table and from the map.
    const address = await other.evaluate(() => easypeers.address)
    await page.locator('#twin summary').focus()
    await page.keyboard.press('Enter')
    await use(page.getByRole('button', { name: `Write to ${address.slice(0, 6)}` }))
    assert.match(await text(page, 'to'), /^Only to/)
    await page.locator('#text').fill('only you')
    await page.keyboard.press('Enter')
    await heard(page, 'delivered, 1 hop')
    await heard(other, 'only you')
    assert.match(await text(other, 'messages'), /to you only/)
    await use(page.locator('#clear'))
    assert.equal(await text(page, 'to'), 'To everybody')
    if (by === 'mouse') {
      await click(page, address.slice(0, 6), async () => /^Only to/.test(await text(page, 'to')))
      await use(page.locator('#clear'))
      const before = await page.evaluate(() => easypeers.stats().linksOpened)
      await click(page, 'Cut this link', async () => (await text(page, 'news')).includes('is cut'))
      await until('it heals', async () => await page.evaluate(() => easypeers.stats().linksOpened) > before || await links(page) >= 3)
    }
    await use(page.getByRole('button', { name: /^Cut the link to/ }).first())
    await says(page, 'is cut')

    // Name, links, password.
    await page.locator('#settings summary').focus()
    await page.keyboard.press('Enter')
    await page.locator('#name').fill('Anna')
    await page.locator('#max-peers').fill('4')
    await use(page.locator('#settings-form button'))
    await until('4 links', () => page.evaluate(() => easypeers.maxPeers === 4))
    await page.locator('#text').fill('with a name')
    await page.keyboard.press('Tab')
    await use(page.locator('#compose button', { hasText: 'Send' }))
    await heard(other, 'with a name')
    assert.match(await text(other, 'messages'), /Anna/)
    await page.locator('#password').fill('secret')
    await use(page.locator('#settings-form button'))
    await until('alone with this password', async () => await links(page) === 0)
    await page.locator('#password').fill('')
    await use(page.locator('#settings-form button'))
    // Each of the others answers the same peer four times a minute, and may have done so for this one.
    await until('together without', async () => await links(page) > 0, 90_000)

    // Another topic.
    const elsewhere = hex20()
    await page.locator('#topic').fill(elsewhere)
    await use(page.locator('#topic-form button', { hasText: 'Join' }))
    await status(page, /^Alone here/)
    assert.equal(new URL(page.url()).hash, `#${elsewhere}`)
    assert.equal(await page.locator('#messages li').count(), 0, 'each topic has its own conversation')

    // Snippets.
    for (const [tab, words] of [['ES module', 'easypeers.mjs'], ['Rust', 'Easypeers::join'], ['Terminal', `peer -- ${elsewhere} --tracker ${lab.ws}`], ['Docker', 'docker run'], ['Script tag', `<script src="${lab.tracker.http}easypeers.js">`]]) {
      await use(page.getByRole('tab', { name: tab }))
      assert.ok((await text(page, 'snippet')).includes(words), tab)
    }
    if (by === 'keyboard') {
      await page.keyboard.press('ArrowRight')
      assert.ok((await text(page, 'snippet')).includes('easypeers.mjs'))
    }
    await use(page.locator('#copy-snippet'))
    await until('the snippet is copied', async () => (await text(page, 'copy-snippet')) === 'Copied')
    assert.equal(await clipboard(), await text(page, 'snippet-code'))
  })
}

/**
 * Clicks what the map calls so, wherever it is: where a pointer that moves over it is told that name. What is there may
 * have moved away when the click comes: again then, until it is `done`.
 */
async function click (page, title, done) {
  const map = page.locator('#map')
  await until(`a click on ${title} has an effect`, async () => {
    if (await page.locator('#clear').isVisible()) await page.locator('#clear').click()
    await map.scrollIntoViewIfNeeded()
    const place = await map.evaluate((map, title) => {
      const { left, top, width, height } = map.getBoundingClientRect()
      for (let y = 6; y < height; y += 7) {
        for (let x = 6; x < width; x += 7) {
          map.dispatchEvent(new PointerEvent('pointermove', { clientX: left + x, clientY: top + y }))
          if (map.title === title) return { x: left + x, y: top + y }
        }
      }
      return null
    }, title)
    if (!place) return false
    await page.mouse.click(place.x, place.y)
    return until('an effect', done, 2000).catch(() => false)
  })
}

test('names, history and preferences survive a reload, and a late page hears what was said', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const { page } = await lab.ownPage(topic)
  const { page: other } = await lab.ownPage(topic)
  await status(page, /^Connected/)
  await page.locator('#settings summary').click()
  await page.locator('#name').fill('Berta')
  await page.locator('#max-peers').fill('5')
  await page.locator('#settings-form button').click()
  await page.locator('#text').fill('before the reload')
  await page.keyboard.press('Enter')
  await heard(other, 'before the reload')
  await other.evaluate(() => easypeers.send('from the other'))
  const said = Date.now()
  await heard(page, 'from the other')
  await page.reload()
  await heard(page, 'before the reload')
  await heard(page, 'from the other')
  assert.equal(await page.locator('#messages li.old').count(), 2)
  await status(page, /^Connected: 1 of 5/)
  assert.equal(await page.locator('#name').inputValue(), 'Berta')
  await page.locator('#text').fill('after it')
  await page.keyboard.press('Enter')
  await heard(other, 'after it')
  assert.equal((await text(other, 'messages')).match(/Berta/g).length, 2)

  // What is younger than two seconds is compared half a minute later.
  await until('it is history', () => Date.now() - said > 2500)
  const { page: late } = await lab.ownPage(topic)
  await heard(late, 'from the other')
  assert.match(await text(late, 'messages'), /said before you came/)
})

test('who wants less motion sees states, not movements; nothing is drawn while nothing happens', { skip, timeout: 120_000 }, async () => {
  const { page } = await lab.openUrl('about:blank', { reducedMotion: 'reduce' }, 'own page')
  await page.addInitScript(() => {
    globalThis.frames = { count: 0, last: 0 }
    const real = requestAnimationFrame
    globalThis.requestAnimationFrame = call => real(at => {
      globalThis.frames = { count: frames.count + 1, last: performance.now() }
      call(at)
    })
  })
  await page.goto(`${lab.tracker.http}#${hex20()}`)
  await page.locator('#count').fill('3')
  await page.locator('#add').click()
  await status(page, /^Connected: 3 of 6 links/)
  // The page looks at its peer once a second.
  const rests = () => until('nothing is drawn any more', () => page.evaluate(() => performance.now() - frames.last > 2500))
  await rests()
  const picture = () => page.locator('#map').evaluate(map => map.toDataURL())
  const [before, { count }] = [await picture(), await page.evaluate(() => frames)]
  await page.locator('#text').fill('along the links')
  await page.keyboard.press('Enter')
  await until('its ways are marked', async () => await picture() !== before)
  await until('and then no more', async () => await picture() === before)
  await rests()
  const drawn = await page.evaluate(() => frames.count) - count
  assert.ok(drawn < 10, `${drawn} frames, as many as a movement has`)
})

test('a page that nobody sees counts what is new in its title', { skip, timeout: 120_000 }, async () => {
  const topic = hex20()
  const { page } = await lab.ownPage(topic)
  const { page: other } = await lab.ownPage(topic)
  await status(page, /^Connected/)
  const hide = hidden => page.evaluate(hidden => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
    document.dispatchEvent(new Event('visibilitychange'))
  }, hidden)
  const title = await page.title()
  await hide(true)
  await other.evaluate(() => Promise.all([easypeers.send('one'), easypeers.send('two')]))
  await until('the title counts', async () => await page.title() === `(2) ${title}`)
  await hide(false)
  assert.equal(await page.title(), title)
})

test('without WebRTC or JavaScript the page says so and explains the server', { skip }, async () => {
  const blocked = await lab.openUrl('about:blank')
  await blocked.page.addInitScript(() => { delete globalThis.RTCPeerConnection })
  await blocked.page.goto(lab.tracker.http)
  await until('it says what is missing', async () => /blocks WebRTC/.test(await text(blocked.page, 'notice')))
  await shown(blocked.page)
  const { page } = await lab.openUrl(lab.tracker.http, { javaScriptEnabled: false })
  assert.match(await page.locator('noscript').first().textContent(), /needs JavaScript/)
  assert.match(await page.locator('header').innerText(), /This server only introduces peers/)
})

for (const [size, viewport] of Object.entries({
  desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 }
})) {
  test(`the page on a ${size}, light and dark`, { skip, timeout: 120_000 }, async () => {
    const light = {}
    for (const colorScheme of ['light', 'dark']) {
      const { page } = await lab.ownPage(hex20(), { viewport, colorScheme })
      await shown(page)
      await page.locator('#add').click()
      await status(page, /^Connected: [3-6] of 6/)
      await page.locator('#text').fill('Does anybody hear me?')
      await page.keyboard.press('Enter')
      await heard(page, 'sent')
      await page.locator('#twin summary').click()
      await page.locator('#settings summary').click()
      const seen = await page.evaluate(() => {
        // The relative luminance of a colour, and the first background that is not see-through.
        const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
        const luminance = colour => {
          canvas.clearRect(0, 0, 1, 1)
          canvas.fillStyle = colour
          canvas.fillRect(0, 0, 1, 1)
          const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
          const linear = [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
          return a ? 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] : null
        }
        const behind = element => luminance(getComputedStyle(element).backgroundColor) ?? behind(element.parentElement)
        const visible = [...document.querySelectorAll('body *')].filter(element => element.checkVisibility())
        const weak = visible.filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && !element.matches(':disabled'))
          .map(element => {
            const [text, back] = [luminance(getComputedStyle(element).color), behind(element)]
            return [(Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05), element.tagName, element.id, element.textContent.slice(0, 30)]
          }).filter(([contrast]) => contrast < 4.5)
        const small = visible.filter(element => element.matches('button:not(.plain), input, summary'))
          .map(element => [element.getBoundingClientRect(), element]).filter(([box]) => box.height < 44 || box.width < 44)
          .map(([box, element]) => [element.tagName, element.id, element.textContent.slice(0, 20), box.width, box.height])
        const unnamed = visible.filter(element => element.matches('input') && !element.labels.length).map(element => element.id)
        return { width: document.documentElement.scrollWidth, weak, small, unnamed, back: behind(document.querySelector('main')) }
      })
      if (process.env.SCREENSHOTS) {
        await page.locator('#twin summary').click()
        await page.locator('#settings summary').click()
        await mkdir(process.env.SCREENSHOTS, { recursive: true })
        await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `page-${size}-${colorScheme}.png`), fullPage: true })
      }
      assert.ok(seen.width <= viewport.width, `${seen.width} px of content in ${viewport.width} px`)
      assert.deepEqual(seen.weak, [], `contrast below 4.5 in ${colorScheme}`)
      assert.deepEqual(seen.small, [], 'targets below 44 px')
      assert.deepEqual(seen.unnamed, [], 'fields without a label')
      light[colorScheme] = seen.back
    }
    assert.ok(light.dark < light.light, 'dark is darker than light')
  })
}
