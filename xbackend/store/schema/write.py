"""Writes the JSON Schema of records, which the documentation publishes."""

from __future__ import annotations

import json
import sys

from xbackend.store.schema.record import json_schema

if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")
