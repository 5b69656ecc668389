"""Writes options/schema.json, which editors read to complete and check option files."""

import json
from pathlib import Path

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.json_schema import build_json_schema
from msgnn_plugin.data.atomic import write_bytes_atomic

OUT = Path(__file__).resolve().parents[1] / "options/schema.json"


def main() -> None:
    """Write the file."""
    register()
    write_bytes_atomic(OUT, (json.dumps(build_json_schema(), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
