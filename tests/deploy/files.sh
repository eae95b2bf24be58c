#!/usr/bin/env bash
# Checks what is in deploy/ without running it: Dockerfile, compose, Kubernetes, Prometheus, systemd,
# shell. Needs Debian's prometheus (promtool), systemd, shellcheck, python3-venv, and node.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=target/deploy-tools
mkdir -p "$tools"
if ! cmp -s tests/deploy/requirements.txt "$tools/requirements.txt"; then
  python3 -m venv --clear "$tools/python"
  "$tools/python/bin/pip" install --quiet --requirement tests/deploy/requirements.txt
  npm install --silent --no-audit --no-fund --prefix "$tools" @kubernetes-models/prometheus-operator@6.0.0
  cp tests/deploy/requirements.txt "$tools/requirements.txt"
fi
PATH=$PWD/$tools/python/bin:$PATH

check() { echo "-- $1"; }

check 'Dockerfile'
hadolint deploy/Dockerfile

check 'shell scripts'
shellcheck deploy/build-static.sh tests/deploy/*.sh

check 'compose'
python3 tests/deploy/compose.py deploy/compose.yaml

check 'Kubernetes'
for folder in base overlays/several-nodes; do
  rendered=$tools/$(basename "$folder").yaml
  kubectl kustomize "deploy/k8s/$folder" >"$rendered"
  # The one kind that is not Kubernetes' own is checked below.
  kubernetes-validate --strict --quiet "$rendered" |
    { grep -v "Couldn't find schema for kind ServiceMonitor" || true; }
done
python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' \
  <deploy/k8s/base/servicemonitor.yaml >"$tools/servicemonitor.json"
(cd "$tools" && node --input-type=module -e '
  import { readFileSync } from "node:fs"
  import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor"
  new ServiceMonitor(JSON.parse(readFileSync("servicemonitor.json"))).validate()
')

check 'Prometheus'
promtool check config --syntax-only deploy/prometheus/prometheus.yml
promtool check rules deploy/prometheus/rules.yml deploy/prometheus/alerts.yml
promtool test rules tests/deploy/alerts.test.yml
# An alert without a test, or without a word on what to do, is not finished.
sed -n 's/.*- alert: //p' deploy/prometheus/alerts.yml | while read -r alert; do
  grep -q "alertname: $alert\$" tests/deploy/alerts.test.yml || { echo "no test of $alert"; exit 1; }
  grep -q "$alert" docs/operations.md || { echo "docs/operations.md does not name $alert"; exit 1; }
done

check 'systemd'
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
# The programs need not be installed for this.
sed 's|=/usr/bin/[a-z]*|=/bin/true|' deploy/systemd/easypeers-tracker.service >"$units/easypeers-tracker.service"
sed 's|=/usr/bin/[a-z]*|=/bin/true|' deploy/systemd/easypeers-peer@.service >"$units/easypeers-peer@.service"
cp deploy/systemd/easypeers-tracker.socket "$units/"
said=$(systemd-analyze verify --man=no "$units"/* 2>&1)
[ -z "$said" ] || { echo "$said"; exit 1; }
# In tenths, "2.0 OK" and better; what is open is what the programs do: sockets, the host's network.
for unit in easypeers-tracker.service easypeers-peer@.service; do
  systemd-analyze security --offline=true --no-pager --threshold=20 "deploy/systemd/$unit" | tail -1
done

echo 'ok: deploy/'
