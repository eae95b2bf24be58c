// Fills in this host, copies snippets, and shows the counts of /stats.json while the page is seen.
const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`
const byId = id => document.getElementById(id)

byId('ws-url').textContent = url
for (const place of document.querySelectorAll('.url')) place.textContent = url

// The clipboard API needs a secure context; http://192.168.x.y is none.
async function copy (source) {
  const text = source.innerText.trim()
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text)
  const range = document.createRange()
  range.selectNodeContents(source)
  const selection = getSelection()
  selection.removeAllRanges()
  selection.addRange(range)
  if (!document.execCommand('copy')) throw new Error('copying is not allowed')
  selection.removeAllRanges()
}

for (const button of document.querySelectorAll('[data-copy]')) {
  button.setAttribute('aria-live', 'polite')
  button.addEventListener('click', async () => {
    try {
      await copy(byId(button.dataset.copy))
      button.textContent = 'Copied'
    } catch {
      button.textContent = 'Select it'
    }
    setTimeout(() => { button.textContent = 'Copy' }, 1500)
  })
}

const EVERY = 2000
const rates = { announces: 'announces_total', offers: 'offers_relayed_total', answers: 'answers_relayed_total' }
let last = null

function uptime (seconds) {
  if (seconds < 120) return `${seconds} seconds`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} minutes`
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} hours`
  return `${Math.floor(seconds / 86400)} days`
}

function show (stats, at) {
  for (const id of ['connections', 'swarms', 'peers']) byId(id).textContent = stats[id]
  for (const [id, key] of Object.entries(rates)) {
    if (!last) continue
    const rate = Math.max(0, stats[key] - last.stats[key]) / ((at - last.at) / 1000)
    byId(id).textContent = rate >= 10 || rate === 0 ? Math.round(rate) : rate.toFixed(1)
  }
  last = { stats, at }
  byId('status').textContent = stats.draining
    ? 'The server is shutting down.'
    : `Up for ${uptime(stats.uptime_seconds)}.`
  byId('version').textContent = `Version ${stats.version}.`
}

async function refresh () {
  if (!document.hidden) {
    try {
      const response = await fetch('/stats.json', { cache: 'no-store' })
      show(await response.json(), performance.now())
    } catch {
      last = null
      byId('status').textContent = 'The server does not answer; trying again.'
    }
  }
  setTimeout(refresh, EVERY)
}
refresh()
