"""Opens every page of the built site in headless Chromium and says what is wrong with it.

    python docs/look.py pictures        # needs selenium, chromium and chromedriver; pictures/ gets screenshots

Of every page: nothing on the console, no request to another host, pictures that load and have an alternative text,
mathematics that is typeset, and nothing wider than a phone. The search has to find `simulate`.
"""

import argparse
import functools
import http.server
import shutil
import threading
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SITE = Path(__file__).parent / "_site" / "html"
DESKTOP, PHONE = (1280, 900), (390, 844)
FAULTS = """
const faults = [];
for (const image of document.querySelectorAll("article img")) {
  const alt = image.getAttribute("alt");
  if (!alt || /\\.(png|svg|jpe?g)$/.test(alt)) faults.push("no alternative text: " + image.src);
  if (!image.complete || !image.naturalWidth) faults.push("not loaded: " + image.src);
}
for (const entry of performance.getEntriesByType("resource"))
  if (!entry.name.startsWith(location.origin) && !entry.name.startsWith("data:"))
    faults.push("from another host: " + entry.name);
for (const node of document.querySelectorAll(".katex-error, .math")) faults.push("not typeset: " + node.textContent);
const prose = (document.querySelector("article") || document.body).cloneNode(true);
prose.querySelectorAll("pre, code, script, annotation").forEach(node => node.remove());
const text = prose.textContent;
for (const rest of text.match(/\\$[^$\\n]{1,60}\\$|\\\\\\(|\\{(py:)?[a-z]+\\}`/g) || []) faults.push("raw text: " + rest);
return faults;
"""
WIDTH = """
const page = document.documentElement;
if (page.scrollWidth <= page.clientWidth) return [];
const wide = [...document.querySelectorAll("article *")].filter(
  node => node.getBoundingClientRect().right > page.clientWidth + 1);
return [`${page.scrollWidth} pixels wide on a phone: ` + wide.slice(0, 3).map(n => n.tagName + "." + n.className)];
"""


def served(folder: Path) -> str:
    """The address of a server of the folder, in a thread."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.add_argument("--headless=new")
    options.add_argument("--no-sandbox")
    options.add_argument("--hide-scrollbars")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = found("chromium", "chromium-browser", "google-chrome")
    return webdriver.Chrome(options, webdriver.ChromeService(found("chromedriver")))


def found(*programs: str) -> str:
    """The path of the first of these programs that is installed."""
    for program in programs:
        if path := shutil.which(program):
            return path
    raise SystemExit(f"docs/look.py needs {' or '.join(programs)}")


def resize(driver: webdriver.Chrome, size: tuple[int, int], *, dark: bool) -> None:
    width, height = size
    metrics = {
        "width": width,
        "height": height,
        "deviceScaleFactor": 1,
        "mobile": False,
    }
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def keep_picture(driver: webdriver.Chrome, file: Path, width: int) -> None:
    """A picture of the whole page, up to 4000 pixels of it."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    resize(driver, (width, min(height, 4000)), dark="dark" in file.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(file))


def search(driver: webdriver.Chrome, address: str, word: str) -> list[str]:
    resize(driver, DESKTOP, dark=False)
    driver.get(f"{address}/search.html?q={word}")
    try:
        WebDriverWait(driver, 20).until(
            lambda d: d.find_elements(By.CSS_SELECTOR, "#search-results ul.search li a")
        )
    except Exception:
        return [f"the search does not find {word}"]
    links = driver.find_elements(By.CSS_SELECTOR, "#search-results ul.search li a")
    hits = [link.text for link in links]
    return [] if any(word in hit for hit in hits) else [f"{word} only in {hits[:5]}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument(
        "--pages", nargs="*", default=[], help="names of pages, as api/neurons"
    )
    arguments = parser.parse_args()
    address = served(SITE)
    driver = browser()
    pages = [
        p.relative_to(SITE)
        for p in sorted(SITE.rglob("*.html"))
        if "_static" not in p.parts
    ]
    if arguments.pages:
        pages = [p for p in pages if str(p.with_suffix("")) in arguments.pages]
    faults = {}
    for page in pages:
        driver.get_log("browser")
        wrong = []
        for name, size, dark in (
            ("desktop", DESKTOP, False),
            ("dark", DESKTOP, True),
            ("phone", PHONE, False),
        ):
            resize(driver, size, dark=dark)
            driver.get(f"{address}/{page}")
            if name == "desktop":
                wrong += driver.execute_script(FAULTS)
            if name == "phone":
                wrong += driver.execute_script(WIDTH)
            file = arguments.pictures / page.with_suffix(f".{name}.png")
            keep_picture(driver, file, size[0])
        wrong += [
            entry["message"]
            for entry in driver.get_log("browser")
            if entry["level"] in {"WARNING", "SEVERE"}
        ]
        faults[str(page)] = wrong
    faults["search"] = search(driver, address, "simulate")
    driver.quit()
    for page, each in faults.items():
        for fault in each:
            print(f"{page}: {fault}")
    faulty = sum(map(bool, faults.values()))
    print(f"{len(pages)} pages, {faulty} with faults")
    if faulty:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
