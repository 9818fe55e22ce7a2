"""The inventories of other sites that can be reached now; without a network there are none, and no links to them."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

SECONDS = 5.0


def reachable_inventories(sites: dict[str, str]) -> dict[str, tuple[str, str]]:
    """For each site that answers, its address and a file with its inventory, as intersphinx takes them."""
    folder = Path(mkdtemp())

    def fetch(name: str) -> tuple[str, str] | None:
        address = sites[name] + "objects.inv"
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:
                content = answer.read()
        except (OSError, urllib.error.URLError):
            return None
        if not content.startswith(b"# Sphinx inventory"):
            return None
        file = folder / f"{name}.inv"
        file.write_bytes(content)
        return sites[name], str(file)

    with ThreadPoolExecutor(len(sites)) as pool:
        found = dict(zip(sites, pool.map(fetch, sites), strict=True))
    return {name: entry for name, entry in found.items() if entry is not None}
