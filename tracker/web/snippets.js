// What can be taken away from here: the link to share, as text and as a QR code, and code to copy with
// this host filled in.

/** What is said in each language; `ws` and `http` are this host's addresses, `topic` the page's topic. */
export const snippets = ({ ws, http, topic }) => {
  const quoted = JSON.stringify(topic).replaceAll('<', '\\u003c')
  const word = /^[\w.-]+$/.test(topic) ? topic : `'${topic.replaceAll("'", "'\\''")}'`
  return {
    'Script tag': `<script src="${http}/easypeers.js"></script>
<script>
  const easypeers = new Easypeers(${quoted})
  easypeers.on('message', data => console.log(data.from, data.message))
  easypeers.on('connect', peer => easypeers.send('hello, ' + peer))
</script>`,
    'ES module': `import Easypeers from '${http}/easypeers.mjs'

const easypeers = new Easypeers(${quoted}, { maxPeers: 6 })
easypeers.on('message', data => console.log(data.from, data.message))
easypeers.on('connect', async peer => {
  const receipt = await easypeers.send(peer, 'only you can read this')
  console.log(receipt.result, receipt.hops, receipt.rtt)
})`,
    Rust: `use easypeers::{Easypeers, Event, Options};

let mut options = Options::default();
options.trackers = vec!["${ws}".parse()?];
let peer = Easypeers::join(${quoted}, options).await?;
let mut events = peer.events();
peer.send("hello, everybody").await?;
while let Some(event) = events.next().await {
    if let Event::Message(message) = event {
        println!("{}: {:?}", message.from, message.data.as_text());
    }
}`,
    Terminal: `cargo run --release -p peer -- ${word} --tracker ${ws}`,
    Docker: `docker build -f deploy/Dockerfile -t easypeers .
docker run --rm -p 3000:3000 easypeers`
  }
}

/** Copies a text, also where the clipboard API is missing: it needs a secure context, and http://192.168.x.y is none. */
export async function copy (text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text)
  const box = document.body.appendChild(document.createElement('textarea'))
  box.value = text
  box.select()
  const done = document.execCommand('copy')
  box.remove()
  if (!done) throw new Error('copying is not allowed')
}

/** Makes a button copy what `text()` gives. */
export function copies (button, text) {
  const label = button.textContent
  button.setAttribute('aria-live', 'polite')
  button.addEventListener('click', async () => {
    try {
      await copy(text())
      button.textContent = 'Copied'
    } catch {
      button.textContent = 'Select it by hand'
    }
    setTimeout(() => { button.textContent = label }, 1500)
  })
}

/** Fills a list of tabs with the snippets, and shows the one that is chosen. */
export function showSnippets ({ tabs, code, button }, host) {
  let chosen = 'Script tag'
  const all = () => snippets(host())
  const show = () => {
    code.textContent = all()[chosen]
    for (const tab of tabs.children) {
      const now = tab.textContent === chosen
      tab.setAttribute('aria-selected', now)
      tab.tabIndex = now ? 0 : -1
    }
  }
  for (const name of Object.keys(all())) {
    const tab = tabs.appendChild(document.createElement('button'))
    tab.type = 'button'
    tab.role = 'tab'
    tab.textContent = name
    tab.setAttribute('aria-controls', code.parentElement.id)
    tab.addEventListener('click', () => { chosen = name; show() })
  }
  tabs.addEventListener('keydown', event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const list = [...tabs.children]
    const next = list[(list.indexOf(document.activeElement) + step + list.length) % list.length]
    next.click()
    next.focus()
  })
  copies(button, () => code.textContent)
  show()
  return show
}

// ---------------------------------------------------------------- QR code (ISO/IEC 18004)
// Bytes, error correction level M, versions 1 to 10: up to 213 bytes, which a link to share has.

/** Codewords in all, for error correction in each block, and blocks; by version. */
const SIZES = [, [26, 10, 1], [44, 16, 1], [70, 26, 1], [100, 18, 2], [134, 24, 2], [172, 16, 4], [196, 18, 4],
  [242, 22, 4], [292, 22, 5], [346, 26, 5]]
const ALIGNMENT = [, [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]]

const EXP = new Uint8Array(512)
const LOG = new Uint8Array(256)
for (let power = 0, value = 1; power < 255; power++) {
  EXP[power] = EXP[power + 255] = value
  LOG[value] = power
  value = value << 1 ^ (value & 128 ? 0x11d : 0)
}
const times = (a, b) => a && b ? EXP[LOG[a] + LOG[b]] : 0

/** The remainder by Reed and Solomon's generator of this degree. */
function correction (data, degree) {
  let generator = [1]
  for (let power = 0; power < degree; power++) {
    const next = [...generator, 0]
    generator.forEach((factor, index) => { next[index + 1] ^= times(factor, EXP[power]) })
    generator = next
  }
  const rest = [...data, ...new Array(degree).fill(0)]
  data.forEach((_, index) => {
    const lead = rest[index]
    generator.forEach((factor, at) => { rest[index + at] ^= times(factor, lead) })
  })
  return rest.slice(data.length)
}

/** `value` with the bits that protect it. */
function protect (value, polynomial, bits) {
  let rest = value << bits
  const length = number => 32 - Math.clz32(number)
  while (length(rest) >= length(polynomial)) rest ^= polynomial << length(rest) - length(polynomial)
  return value << bits | rest
}

function codewords (bytes, version) {
  const [total, degree, blocks] = SIZES[version]
  const capacity = total - degree * blocks
  const bits = []
  const put = (value, count) => { for (let bit = count - 1; bit >= 0; bit--) bits.push(value >> bit & 1) }
  put(4, 4)
  put(bytes.length, version < 10 ? 8 : 16)
  bytes.forEach(byte => put(byte, 8))
  put(0, Math.min(4, capacity * 8 - bits.length))
  while (bits.length % 8) bits.push(0)
  const data = []
  for (let at = 0; at < bits.length; at += 8) data.push(parseInt(bits.slice(at, at + 8).join(''), 2))
  for (let pad = 0xec; data.length < capacity; pad ^= 0xec ^ 0x11) data.push(pad)
  const small = Math.floor(capacity / blocks)
  const parts = []
  for (let block = 0, at = 0; block < blocks; block++) {
    const size = small + (block >= blocks - capacity % blocks ? 1 : 0)
    parts.push(data.slice(at, at += size))
  }
  const corrections = parts.map(part => correction(part, degree))
  const woven = list => Array.from({ length: Math.max(...list.map(part => part.length)) }, (_, at) =>
    list.filter(part => at < part.length).map(part => part[at])).flat()
  return [...woven(parts), ...woven(corrections)]
}

/** The modules of a text's QR code, row by row; null for one that is too long. */
export function qr (text) {
  const bytes = [...new TextEncoder().encode(text)]
  const fits = ([total, degree, blocks], version) => bytes.length + (version < 10 ? 2 : 3) <= total - degree * blocks
  const version = SIZES.findIndex((size, version) => size && fits(size, version))
  if (version < 0) return null
  const size = version * 4 + 17
  const grid = Array.from({ length: size }, () => new Array(size).fill(null))
  const set = (x, y, dark) => { if (x >= 0 && y >= 0 && x < size && y < size) grid[y][x] = Boolean(dark) }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy))
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4)
      }
    }
  }
  for (let at = 8; at < size - 8; at++) {
    set(at, 6, at % 2 === 0)
    set(6, at, at % 2 === 0)
  }
  const centres = ALIGNMENT[version]
  for (const cy of centres) {
    for (const cx of centres) {
      const corner = (cx === 6 && cy === 6) || (cx === 6 && cy === size - 7) || (cx === size - 7 && cy === 6)
      if (corner) continue
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1)
      }
    }
  }
  // Level M is 00; the mask is always number 0, since readers take each.
  const format = protect(0, 0x537, 10) ^ 0x5412
  for (let bit = 0; bit < 15; bit++) {
    const dark = format >> bit & 1
    set(8, bit < 6 ? bit : bit < 8 ? bit + 1 : size - 15 + bit, dark)
    set(bit < 8 ? size - 1 - bit : bit === 8 ? 7 : 14 - bit, 8, dark)
  }
  set(8, size - 8, true)
  if (version >= 7) {
    const word = protect(version, 0x1f25, 12)
    for (let bit = 0; bit < 18; bit++) {
      set(Math.floor(bit / 3), size - 11 + bit % 3, word >> bit & 1)
      set(size - 11 + bit % 3, Math.floor(bit / 3), word >> bit & 1)
    }
  }
  const bits = codewords(bytes, version).flatMap(word => [7, 6, 5, 4, 3, 2, 1, 0].map(bit => word >> bit & 1))
  let next = 0
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right--
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step
      for (const x of [right, right - 1]) {
        if (grid[y][x] === null) grid[y][x] = Boolean(bits[next++]) !== ((x + y) % 2 === 0)
      }
    }
  }
  return grid
}

/** Draws the code with the quiet zone around it, dark on light in every colour scheme. */
export function drawQr (canvas, text) {
  const grid = qr(text)
  canvas.hidden = !grid
  if (!grid) return
  const module = 4
  canvas.width = canvas.height = (grid.length + 8) * module
  const context = canvas.getContext('2d')
  context.fillStyle = '#fff'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.fillStyle = '#000'
  grid.forEach((row, y) => row.forEach((dark, x) => {
    if (dark) context.fillRect((x + 4) * module, (y + 4) * module, module, module)
  }))
}
