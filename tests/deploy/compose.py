"""Checks a compose file against the Compose specification, and that it names only what it defines."""

import sys

import compose_spec
import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    # Anchors and merges are YAML's, not the specification's.
    text = yaml.safe_dump(yaml.safe_load(file))

compose = compose_spec.PyCompose.from_yaml(text)
spec = compose.to_spec()
compose.validate_networks()
compose.validate_secrets()
compose.validate_volumes()
compose.validate_configs()

raw = compose.to_dict()["services"]
for name, service in raw.items():
    for other in service.get("depends_on", {}):
        assert other in raw, f"{name} depends on {other}, which there is not"
    for wanted in ("read_only", "cap_drop", "security_opt", "mem_limit", "pids_limit"):
        assert service.get(wanted), f"{name} has no {wanted}"
    assert ":" in service["image"] or "build" in service, f"{name} names no version of its image"
print(f"{len(raw)} services")
