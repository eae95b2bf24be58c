// The tracker's own page.
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { Lab, hex20, newPeerId, standIn, until } from './harness.mjs'

const skip = standIn ? 'the stand-in has no page of its own' : false
const lab = new Lab()
if (skip) {
  console.log(`page.test.mjs skipped: ${skip}`)
} else {
  before(() => lab.start())
  afterEach(() => lab.clean())
  after(() => lab.stop())
}

const number = async (page, id) => {
  const text = (await page.locator(`#${id}`).innerText()).trim()
  return /\d/.test(text) ? Number(text.replace(/[^\d.]/g, '')) : NaN
}
const numbers = async page =>
  ({ peers: await number(page, 'peers'), swarms: await number(page, 'swarms'), connections: await number(page, 'connections') })
const shown = page => until('the three counts are numbers', async () =>
  Object.values(await numbers(page)).every(value => Number.isInteger(value)))

test('the page tells the WebSocket URL and live counts', { skip }, async () => {
  const { page } = await lab.openUrl(lab.tracker.http)
  const { host } = new URL(lab.tracker.http)
  assert.match(await page.locator('#ws-url').innerText(), new RegExp(`ws://${host.replaceAll('.', '\\.')}`))
  await shown(page)
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

for (const [size, viewport] of Object.entries({
  desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 }
})) {
  test(`the page on a ${size}, light and dark`, { skip }, async () => {
    const light = {}
    for (const colorScheme of ['light', 'dark']) {
      const { page } = await lab.openUrl(lab.tracker.http, { viewport, colorScheme })
      await shown(page)
      const { width, text, back } = await page.evaluate(() => {
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
        const probe = document.body.appendChild(document.createElement('i'))
        probe.style.backgroundColor = 'Canvas' // what the browser paints under everything
        const canvasColour = getComputedStyle(probe).backgroundColor
        probe.remove()
        const behind = element => luminance(element ? getComputedStyle(element).backgroundColor : canvasColour) ??
          behind(element.parentElement)
        const url = document.querySelector('#ws-url')
        return { width: document.documentElement.scrollWidth, text: luminance(getComputedStyle(url).color), back: behind(url) }
      })
      if (process.env.SCREENSHOTS) {
        await mkdir(process.env.SCREENSHOTS, { recursive: true })
        await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `page-${size}-${colorScheme}.png`), fullPage: true })
      }
      assert.ok(width <= viewport.width, `${width} px of content in ${viewport.width} px`)
      const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05)
      assert.ok(contrast >= 4.5, `contrast of the URL in ${colorScheme}: ${contrast.toFixed(2)}`)
      light[colorScheme] = back
    }
    assert.ok(light.dark < light.light, 'dark is darker than light')
  })
}
