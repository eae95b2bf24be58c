// Draws a mesh on a canvas. It is given nodes and links, and told of messages on their way; it knows
// nothing of where they come from.
//
// show({ nodes, links }): nodes are { id, label, kind: 'browser' | 'native' | 'unknown', me, local, hops },
//   links { a, b, mine }; what is missing since last time fades, what is new grows.
// flow(paths): each path is a list of ids that a message goes along, hop by hop, all at once.
// select(id): marks a node, or none.
//
// Nothing is drawn while nothing moves, nor while nobody can see it. Whoever asked for less motion sees the states
// that the movements lead to, each for a while.

const RING = 104 // between two hops, before the picture is scaled to fit
const RADIUS = 13
const FADE = 1600
const GROW = 900
const HOP = 320
const SETTLED = 0.02
const SHOWN = 900 // how long a message's way is marked where nothing moves

const still = matchMedia('(prefers-reduced-motion: reduce)')
const key = (a, b) => a < b ? `${a} ${b}` : `${b} ${a}`

/** A number from 0 to 1 that is always the same for one id. */
function fraction (id) {
  let hash = 2166136261
  for (const character of id) hash = Math.imul(hash ^ character.charCodeAt(0), 16777619)
  return (hash >>> 0) / 2 ** 32
}

export function createMap (canvas, { onNode, onLink }) {
  const context = canvas.getContext('2d')
  const nodes = new Map() // id -> what was shown, with x, y, their speeds, and since when
  const links = new Map() // key -> { a, b, mine, born, gone }
  let flows = [] // { path, start }
  let selected = null
  let hovered = null
  let heat = 0 // how much the layout may still move
  let frame = 0
  let later = 0 // a timer instead of a frame
  let scale = 1
  let width = 0
  let height = 0
  let colours = {}

  const now = () => performance.now()
  const place = (x, y) => [width / 2 + x * scale, height / 2 + y * scale]

  // ------------------------------------------------------------ the model

  function show (model) {
    const at = now()
    const seen = new Set()
    let changed = false
    for (const node of model.nodes) {
      seen.add(node.id)
      const known = nodes.get(node.id)
      if (known) {
        if (known.hops !== node.hops) heat = 1
        changed ||= known.gone > 0 || Object.keys(node).some(name => known[name] !== node[name])
        Object.assign(known, node, { gone: 0 })
      } else {
        changed = true
        const angle = fraction(node.id) * 2 * Math.PI
        const distance = node.me ? 0 : RING * (node.hops || 3) * (0.8 + fraction(node.id + 'r') * 0.4)
        nodes.set(node.id, { x: Math.cos(angle) * distance, y: Math.sin(angle) * distance, vx: 0, vy: 0, born: at, gone: 0, ...node })
        heat = 1
      }
    }
    for (const [id, node] of nodes) {
      if (!seen.has(id) && !node.gone) {
        changed = true
        node.gone = at
        heat = Math.max(heat, 0.6)
        if (selected === id) select(null)
      }
    }
    const present = new Set()
    for (const { a, b, mine } of model.links) {
      const name = key(a, b)
      present.add(name)
      const known = links.get(name)
      if (known && !known.gone) {
        changed ||= known.mine !== mine
        known.mine = mine
      } else {
        changed = true
        links.set(name, { a, b, mine, born: at, gone: 0 })
        heat = Math.max(heat, 0.6)
      }
    }
    for (const [name, link] of links) {
      if (present.has(name) || link.gone) continue
      changed = true
      link.gone = at
    }
    if (changed) wake()
  }

  function flow (paths) {
    if (document.hidden) return
    const start = now()
    flows.push(...paths.filter(path => path.length > 1).map(path => ({ path, start })))
    // A burst shows its newest messages.
    flows = flows.slice(-400)
    wake()
  }

  function select (id) {
    selected = id
    wake()
  }

  // ------------------------------------------------------------ the layout

  /** Me in the middle, others on the ring of their hops, linked ones near each other. */
  function step () {
    const all = [...nodes.values()].filter(node => !node.gone)
    const crowd = Math.max(1, all.length / 24)
    for (const [index, node] of all.entries()) {
      for (let other = index + 1; other < all.length; other++) {
        const to = all[other]
        let [dx, dy] = [to.x - node.x, to.y - node.y]
        if (dx === 0 && dy === 0) [dx, dy] = [fraction(to.id) - 0.5, 0.1]
        const distance = Math.hypot(dx, dy)
        if (distance > RING * 2.5) continue
        const push = 2400 / crowd / (distance * distance + 200)
        node.vx -= dx / distance * push
        node.vy -= dy / distance * push
        to.vx += dx / distance * push
        to.vy += dy / distance * push
      }
      if (node.me) continue
      const distance = Math.hypot(node.x, node.y) || 1
      const ring = RING * Math.min(node.hops || 3, 5) * Math.sqrt(crowd)
      const pull = (ring - distance) * 0.02
      node.vx += node.x / distance * pull
      node.vy += node.y / distance * pull
    }
    for (const link of links.values()) {
      const [a, b] = [nodes.get(link.a), nodes.get(link.b)]
      if (link.gone || link.mine || !a || !b) continue
      const [dx, dy] = [b.x - a.x, b.y - a.y]
      const distance = Math.hypot(dx, dy) || 1
      const pull = (distance - RING) * 0.001
      a.vx += dx / distance * pull
      a.vy += dy / distance * pull
      b.vx -= dx / distance * pull
      b.vy -= dy / distance * pull
    }
    let fastest = 0
    for (const node of all) {
      node.vx *= 0.82
      node.vy *= 0.82
      if (node.me) {
        node.x = node.y = 0
        continue
      }
      node.x += node.vx * heat
      node.y += node.vy * heat
      fastest = Math.max(fastest, Math.hypot(node.vx, node.vy))
    }
    heat = fastest < SETTLED ? 0 : Math.max(0, heat * 0.995 - 0.0005)
  }

  function fit () {
    let reach = [RING, RING]
    for (const node of nodes.values()) {
      if (!node.gone) reach = [Math.max(reach[0], Math.abs(node.x)), Math.max(reach[1], Math.abs(node.y))]
    }
    const room = [(width / 2 - 46) / reach[0], (height / 2 - 40) / reach[1]]
    const target = Math.min(1.7, ...room)
    const close = still.matches || Math.abs(target - scale) < 0.002
    scale = close ? target : scale + (target - scale) * 0.08
    return close
  }

  // ------------------------------------------------------------ the picture

  function readColours () {
    const style = getComputedStyle(canvas)
    const names = ['text', 'soft', 'line', 'panel', 'accent', 'native', 'bad', 'glow']
    colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]))
    colours.font = style.fontFamily
  }

  const faded = age => still.matches ? 1 : Math.max(0, 1 - age / FADE)

  function drawLink (link, at) {
    const [a, b] = [nodes.get(link.a), nodes.get(link.b)]
    if (!a || !b) return false
    const age = at - link.born
    const growing = !still.matches && age < GROW && !link.gone
    const [ax, ay] = place(a.x, a.y)
    let [bx, by] = place(b.x, b.y)
    context.lineCap = 'round'
    context.setLineDash([])
    context.globalAlpha = 1
    context.strokeStyle = link.mine ? colours.accent : colours.soft
    context.lineWidth = link.mine ? 2.2 : 1.1
    if (!link.mine) context.globalAlpha = 0.55
    if (link.gone) {
      context.strokeStyle = colours.bad
      context.globalAlpha = faded(at - link.gone)
    } else if (growing) {
      const part = Math.min(1, age / GROW * 1.25)
      ;[bx, by] = [ax + (bx - ax) * part, ay + (by - ay) * part]
      context.setLineDash([5, 6])
    }
    if (hovered === key(link.a, link.b)) context.lineWidth += 2
    context.beginPath()
    context.moveTo(ax, ay)
    context.lineTo(bx, by)
    context.stroke()
    context.setLineDash([])
    return growing || link.gone > 0
  }

  function outline (node, x, y, radius) {
    context.beginPath()
    if (node.kind === 'native') context.roundRect(x - radius * 0.9, y - radius * 0.9, radius * 1.8, radius * 1.8, 3)
    else context.arc(x, y, radius, 0, 2 * Math.PI)
  }

  function drawNode (node, at) {
    const [x, y] = place(node.x, node.y)
    const age = at - node.born
    const growing = !still.matches && age < 500
    const radius = RADIUS * (node.me ? 1.35 : node.hops === 1 ? 1 : 0.82) * Math.max(0.75, Math.min(1, scale)) *
      (growing ? age / 500 : 1)
    const fade = node.gone ? faded(at - node.gone) : 1
    context.globalAlpha = fade * (node.me || node.hops === 1 || node.local ? 1 : 0.62)
    outline(node, x, y, radius)
    context.fillStyle = colours.panel
    context.fill()
    const colour = node.gone ? colours.bad : node.kind === 'native' ? colours.native : colours.accent
    context.lineWidth = 2
    context.strokeStyle = node.kind === 'unknown' && !node.gone ? colours.soft : colour
    if (node.me) {
      context.fillStyle = colours.accent
      context.fill()
    } else if (node.local) {
      context.fillStyle = colours.glow
      context.fill()
    }
    context.stroke()
    if (selected === node.id || hovered === node.id) {
      outline(node, x, y, radius + 5)
      context.lineWidth = selected === node.id ? 2.5 : 1.2
      context.stroke()
    }
    const few = nodes.size <= 40 || node.hops === 1
    if (node.me || few || hovered === node.id || selected === node.id) {
      context.font = `${node.me ? 600 : 400} 12px ${colours.font}`
      context.textAlign = 'center'
      context.textBaseline = 'top'
      context.fillStyle = node.me ? colours.text : colours.soft
      context.fillText(node.me ? 'you' : node.label, x, y + radius + 5)
    }
    return growing || node.gone > 0
  }

  function drawFlow ({ path, start }, at) {
    if (still.matches) return markFlow(path, at - start)
    const done = (at - start) / HOP
    const hop = Math.floor(done)
    if (hop >= path.length - 1) return false
    const [from, to] = [nodes.get(path[hop]), nodes.get(path[hop + 1])]
    if (!from || !to) return false
    const part = done - hop
    const eased = part * part * (3 - 2 * part)
    const [x, y] = place(from.x + (to.x - from.x) * eased, from.y + (to.y - from.y) * eased)
    context.globalAlpha = 1
    context.fillStyle = colours.text
    context.beginPath()
    context.arc(x, y, 4.2, 0, 2 * Math.PI)
    context.fill()
    return true
  }

  function markFlow (path, age) {
    const places = path.map(id => nodes.get(id))
    if (age > SHOWN || places.includes(undefined)) return false
    context.globalAlpha = 1
    context.strokeStyle = colours.text
    context.lineWidth = 3
    context.beginPath()
    for (const { x, y } of places) context.lineTo(...place(x, y))
    context.stroke()
    return true
  }

  function draw () {
    frame = later = 0
    if (document.hidden || !width) return
    const at = now()
    if (still.matches) while (heat > 0) step()
    else if (heat > 0) step()
    const fits = fit()
    for (const [id, node] of nodes) if (node.gone && at - node.gone > FADE) nodes.delete(id)
    for (const [name, link] of links) if (link.gone && at - link.gone > FADE) links.delete(name)
    context.clearRect(0, 0, width, height)
    let moving = heat > 0 || !fits
    for (const link of links.values()) if (!link.mine) moving = drawLink(link, at) || moving
    for (const link of links.values()) if (link.mine) moving = drawLink(link, at) || moving
    for (const node of nodes.values()) moving = drawNode(node, at) || moving
    flows = flows.filter(flow => drawFlow(flow, at))
    context.globalAlpha = 1
    if (!moving && !flows.length) return
    if (still.matches) later = setTimeout(draw, 250)
    else wake()
  }

  function wake () {
    if (frame || document.hidden) return
    clearTimeout(later)
    frame = requestAnimationFrame(draw)
  }

  function resize () {
    const box = canvas.getBoundingClientRect()
    const density = devicePixelRatio || 1
    ;[width, height] = [box.width, box.height]
    canvas.width = Math.round(width * density)
    canvas.height = Math.round(height * density)
    context.setTransform(density, 0, 0, density, 0, 0)
    wake()
  }

  // ------------------------------------------------------------ the pointer

  function nodeAt (x, y) {
    for (const node of nodes.values()) {
      const [nx, ny] = place(node.x, node.y)
      // As large as a finger.
      if (!node.me && !node.gone && Math.hypot(nx - x, ny - y) < 22) return node
    }
    return null
  }

  function linkAt (x, y) {
    for (const link of links.values()) {
      if (link.gone || !nodes.has(link.a) || !nodes.has(link.b)) continue
      const [ax, ay] = place(nodes.get(link.a).x, nodes.get(link.a).y)
      const [bx, by] = place(nodes.get(link.b).x, nodes.get(link.b).y)
      const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1
      const along = Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length))
      if (Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y) < 9) return link
    }
    return null
  }

  canvas.addEventListener('click', ({ offsetX, offsetY }) => {
    const node = nodeAt(offsetX, offsetY)
    const link = node ? null : linkAt(offsetX, offsetY)
    if (node) onNode(node.id)
    else if (link) onLink(link.a, link.b)
    else onNode(null)
  })
  canvas.addEventListener('pointermove', ({ offsetX, offsetY }) => {
    const node = nodeAt(offsetX, offsetY)
    const link = node ? null : linkAt(offsetX, offsetY)
    const over = node?.id ?? (link ? key(link.a, link.b) : null)
    canvas.style.cursor = over ? 'pointer' : ''
    canvas.title = node ? node.label : link ? 'Cut this link' : ''
    if (over !== hovered) {
      hovered = over
      wake()
    }
  })
  canvas.addEventListener('pointerleave', () => { hovered = null; wake() })

  readColours()
  new ResizeObserver(resize).observe(canvas)
  document.addEventListener('visibilitychange', wake)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); wake() })
  return { show, flow, select }
}
