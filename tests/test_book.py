"""The rendered book in headless Chromium: what a reader without network sees. Render it first with `make book`."""
from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book" / "_build" / "html"
PAGES = re.findall(r"^\s*(?:- file|root): (\S+)", (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"), re.MULTILINE)
NOTEBOOKS = [page for page in PAGES if page.startswith("nbs/")]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not log."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the book is served on this machine."""
    if not (HTML / "index.html").exists(): pytest.skip("the book is not rendered: make book")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all pages."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM: pytest.skip("Chromium is missing (CHROMIUM names another place)")
    with playwright.sync_playwright() as api:
        chromium = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def open_tab(browser, address):
    """Opens a tab that notes everything that goes wrong."""
    def open_tab():
        tab = browser.new_page(base_url=address)
        tab.complaints = []
        tab.on("console", lambda message: message.type == "error" and tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("requestfailed", lambda request: tab.complaints.append(f"failed: {request.url}"))
        tab.on("response", lambda response: response.ok or tab.complaints.append(f"{response.status}: {response.url}"))
        tab.on("request", lambda request: request.url.startswith((address, "data:"))
               or tab.complaints.append(f"leaves this machine: {request.url}"))
        return tab
    return open_tab


@pytest.fixture(scope="module")
def page(request, open_tab):
    """One page of the book, opened once for all its tests and fully drawn."""
    tab = open_tab()
    tab.goto(f"/{request.param}.html", wait_until="networkidle")
    tab.evaluate("() => window.MathJax?.startup?.promise")
    tab.name = request.param
    yield tab
    tab.close()


every_page = pytest.mark.parametrize("page", PAGES, indirect=True, scope="module")
every_notebook = pytest.mark.parametrize("page", NOTEBOOKS, indirect=True, scope="module")


@every_page
def test_a_page_opens_without_a_complaint_and_without_the_network(page):
    assert page.locator("article h1").count() == 1
    assert page.complaints == []


@every_page
def test_no_directive_is_visible(page):
    assert re.findall(r"^\s*#\|.*", page.locator("main").inner_text(), re.MULTILINE) == []


@every_page
def test_figures_load_and_have_alternative_text(page):
    images = page.locator("article img")
    for image in page.locator("article img:visible").all(): image.scroll_into_view_if_needed()
    assert all(images.evaluate_all("found => found.map(image => image.naturalWidth)")), "a figure does not load"
    assert all(images.evaluate_all("found => found.map(image => image.alt.trim().length > 10)")), "a figure without alt text"


@every_page
def test_links_lead_somewhere(page, address):
    links = page.locator("article a").evaluate_all("found => found.map(link => link.href)")
    inside = {link.split("#")[0] for link in links if link.startswith(address)}
    assert [link for link in sorted(inside) if not page.request.get(link).ok] == []


@every_notebook
def test_mathematics_are_drawn(page):
    cells = nbformat.read(ROOT / f"{page.name}.ipynb", as_version=4).cells
    prose = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    drawn = page.locator("article .math").evaluate_all(
        "found => found.map(math => Boolean(math.querySelector('mjx-container svg')))")
    assert all(drawn)
    assert bool(drawn) == ("$" in prose)
    assert page.locator("[data-mml-node=merror]").count() == 0, "a formula with an error"


@every_notebook
def test_colab_and_download_lead_to_this_notebook(page, root):
    settings = ConfigParser()
    settings.read(root / "settings.ini", encoding="utf-8")
    repository = settings["DEFAULT"]["git_url"].removeprefix("https://github.com/")
    links = page.locator(".article-header-buttons a").evaluate_all("found => found.map(link => link.href)")
    branch = settings["DEFAULT"]["branch"]
    assert f"https://colab.research.google.com/github/{repository}/blob/{branch}/{page.name}.ipynb" in links
    download = next(link for link in links if "/_sources/" in link)
    assert page.request.get(download).body() == (ROOT / f"{page.name}.ipynb").read_bytes()


def test_the_search_finds_a_word(open_tab):
    tab = open_tab()
    tab.goto("/search.html?q=CorruptFileError", wait_until="networkidle")
    tab.wait_for_selector("#search-results li a")
    hits = tab.locator("#search-results li a").evaluate_all("found => found.map(link => link.getAttribute('href'))")
    assert any("core/errors" in hit for hit in hits)
    assert tab.complaints == []
    tab.close()


def test_the_first_page_leads_to_the_book(open_tab):
    tab = open_tab()
    tab.goto("/index.html")
    tab.wait_for_url("**/nbs/index.html")
    tab.close()
