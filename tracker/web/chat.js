// The conversation: a bounded list of messages, a box to write in, and whom it goes to. What was said is
// kept in the browser, topic by topic. Text of others is text, never markup.

const ON_SCREEN = 200
const KEPT = 100
const SHOWN = 4000
const FOLDED = 600

/**
 * A name travels in front of the text, before a character that nobody types: other programs show it as
 * `Anna: hello`.
 */
const MARK = '\u2063: '

export const withName = (name, text) => name ? name + MARK + text : text

export function splitName (text) {
  const at = text.indexOf(MARK)
  return at > 0 && at <= 40 ? [text.slice(0, at), text.slice(at + MARK.length)] : ['', text]
}

const short = address => address.slice(0, 6)
const clock = time => new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })

/** What is kept of a text, on the screen and in memory: a message may have 16 MiB. */
const cutText = entry => entry.text.length <= SHOWN ? entry : { ...entry, text: entry.text.slice(0, SHOWN) + '…', cut: entry.text.length - SHOWN }

/** Text that may be long: folded, and cut where nobody reads on. */
function fill (element, { text: cut, cut: missing }) {
  if (cut.length <= FOLDED) return void (element.textContent = cut)
  element.textContent = cut.slice(0, FOLDED) + '… '
  const more = document.createElement('button')
  more.type = 'button'
  more.className = 'plain'
  more.textContent = 'more'
  more.addEventListener('click', () => {
    element.textContent = cut
    if (missing) element.append(` (${missing} more characters are not shown)`)
  })
  element.append(more)
}

/**
 * `send(text, to)` gives a promise: the receipt of a direct message, anything for one to everybody.
 */
export function createChat ({ list, form, input, to, clear, empty }, { send, onTarget }) {
  let topic = ''
  let kept = []
  let target = null
  let unread = 0
  const title = document.title

  /** Not at each message of many. */
  let storing = 0
  function storeSoon () {
    storing ||= setTimeout(store, 500)
  }

  function store () {
    if (!storing) return
    clearTimeout(storing)
    storing = 0
    try {
      localStorage.setItem(`easypeers history ${topic}`, JSON.stringify(kept))
    } catch {} // full or forbidden: then it is forgotten
  }
  addEventListener('pagehide', store)

  function read () {
    try {
      const stored = JSON.parse(localStorage.getItem(`easypeers history ${topic}`))
      return Array.isArray(stored) ? stored.slice(-KEPT).filter(entry => typeof entry?.text === 'string') : []
    } catch {
      return []
    }
  }

  /** { from, name, text, time, hops, ms, direct, verified, late, mine, to } */
  function row (entry) {
    const item = document.createElement('li')
    item.classList.toggle('mine', Boolean(entry.mine))
    item.classList.toggle('direct', Boolean(entry.direct))
    item.classList.toggle('old', Boolean(entry.old))
    const head = item.appendChild(document.createElement('p'))
    head.className = 'who'
    const who = head.appendChild(document.createElement('b'))
    who.textContent = entry.mine ? 'You' : entry.name || short(entry.from)
    if (!entry.mine && entry.name) head.append(` ${short(entry.from)}`)
    const facts = []
    if (entry.direct) facts.push(entry.mine ? `to ${entry.toName || short(entry.to)} only` : 'to you only')
    if (entry.hops) facts.push(entry.hops === 1 ? '1 hop' : `${entry.hops} hops`)
    if (entry.ms !== undefined) facts.push(`${entry.ms} ms`)
    if (entry.verified) facts.push('signature checked')
    if (entry.verified === false) facts.push('not verified: anybody may have written this')
    if (entry.late) facts.push('said before you came')
    facts.push(clock(entry.time))
    const small = head.appendChild(document.createElement('small'))
    small.textContent = facts.join(' · ')
    const text = item.appendChild(document.createElement('p'))
    text.className = 'text'
    fill(text, entry)
    return item
  }

  function append (entry) {
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60
    const item = row(entry)
    list.append(item)
    while (list.children.length > ON_SCREEN) list.firstElementChild.remove()
    empty.hidden = true
    if (atEnd || entry.mine) list.scrollTop = list.scrollHeight
    return item
  }

  function keep (entry) {
    kept = [...kept, { ...entry, old: true }].slice(-KEPT)
    storeSoon()
  }

  function add (whole) {
    const entry = cutText(whole)
    append(entry)
    keep(entry)
    if (document.hidden) {
      unread++
      document.title = `(${unread}) ${title}`
    }
  }

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    unread = 0
    document.title = title
  })

  function aim (address, name) {
    target = address ? { address, name } : null
    to.textContent = target ? `Only to ${target.name || short(target.address)}` : 'To everybody'
    clear.hidden = !target
    onTarget(target?.address ?? null)
  }

  clear.addEventListener('click', () => { aim(null); input.focus() })

  const outcome = receipt => ({
    delivered: receipt => `✓ delivered, ${receipt.hops} ${receipt.hops === 1 ? 'hop' : 'hops'}, ${Math.round(receipt.rtt)} ms`,
    sent: () => '✓ sent; a peer of Easypeers 1 acknowledges nothing',
    timeout: () => '✗ no answer in time; it may have arrived',
    unreachable: () => '✗ nobody with this address can be reached'
  })[receipt.result](receipt)

  form.addEventListener('submit', async event => {
    event.preventDefault()
    const text = input.value.trim()
    if (!text) return
    input.value = ''
    const entry = cutText({ mine: true, text, time: Date.now(), direct: Boolean(target), to: target?.address, toName: target?.name })
    const item = append(entry)
    const said = topic
    const tick = item.appendChild(document.createElement('p'))
    tick.className = 'tick'
    tick.textContent = 'on its way'
    try {
      const result = await send(text, target?.address)
      tick.textContent = entry.direct ? outcome(result) : '✓ sent'
      if (topic === said) keep(entry)
    } catch (error) {
      tick.textContent = `✗ not sent: ${error.message}`
    }
  })

  return {
    add,
    aim,
    get target () { return target?.address ?? null },
    /** Shows another topic's conversation. */
    open (name) {
      store()
      topic = name
      kept = read()
      list.replaceChildren()
      empty.hidden = kept.length > 0
      for (const entry of kept) append({ ...entry, old: true })
      aim(null)
    }
  }
}
