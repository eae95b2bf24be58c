// Prints the results of compare.sh as a Markdown table: table.mjs FOLDER TRACKER...
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const [folder, ...trackers] = process.argv.slice(2)
const files = readdirSync(folder)
const read = file => JSON.parse(readFileSync(join(folder, file), 'utf8'))
const results = (tracker, kind) =>
  files.filter(f => f.startsWith(`${tracker}.${kind}`) && f.endsWith('.json')).map(read)

const median = values => {
  const sorted = values.filter(v => v != null).sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
const show = (value, digits) => Number.isFinite(value) ? value.toFixed(digits) : '-'
const sum = object => Object.values(object).reduce((a, b) => a + b, 0)
const counts = list => list.reduce((total, { count }) => total + count, 0)

const rows = trackers.map(tracker => {
  const runs = results(tracker, 'rate')
  const windows = runs.map(run => run.windows[0])
  const latency = kind => ['p50', 'p99']
    .map(p => show(median(windows.map(w => w.latency_ms[kind]?.[p])), 2)).join(' / ')
  return {
    tracker,
    cpu: median(windows.map(w => w.server_cpu_us_per_announce)),
    message: median(windows.map(w => w.server_cpu_us_per_message)),
    latencies: ['response', 'offer', 'answer'].map(latency),
    lost: windows.reduce((total, w) => total + sum(w.lost), 0),
    wrong: runs.reduce((total, run) => total + counts(run.faults) + counts(run.failures), 0),
    rss: median(windows.map(w => w.server_rss_kib)) / 1024,
    idle: median(results(tracker, 'idle').map(run => run.idle.kib_per_connection)),
    load: median(windows.map(w => w.load_cores))
  }
})
const base = rows.find(row => row.tracker === 'bittorrent-tracker')?.cpu

const table = [
  ['tracker', 'CPU µs per announce', 'share', 'CPU µs per message', 'response ms p50 / p99',
    'offer ms', 'answer ms', 'lost', 'wrong', 'MiB', 'KiB per idle connection'],
  ['---', ...Array(10).fill('---:')],
  ...rows.map(row => [row.tracker, show(row.cpu, 0), show(row.cpu / base, 2), show(row.message, 1),
    ...row.latencies, row.lost, row.wrong, show(row.rss, 0), show(row.idle, 1)])
]
for (const cells of table) console.log(`| ${cells.join(' | ')} |`)
console.log(`\nThe load generator itself: ${show(100 * median(rows.map(r => r.load)), 0)} % of a core.`)
