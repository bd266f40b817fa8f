"""A real browser and a real JupyterLab, both on this machine only; tests skip where there is no browser."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 60_000  # ms until something that must happen counts as not happening


@pytest.fixture(scope="module")  # not longer: while Playwright runs, no other test may start an event loop
def chromium():
    """Debian's Chromium under Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("browser tests need Playwright: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("browser tests need Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield Contexts(browser)
        browser.close()


class Contexts:
    """One for all tabs with the same options, which then share what they have loaded."""

    def __init__(self, browser):
        self.browser, self.known = browser, {}

    def get(self, **options):
        key = tuple(sorted(options.items()))
        if key not in self.known:
            self.known[key] = self.browser.new_context(viewport={"width": 1000, "height": 900}, **options)
            self.known[key].set_default_timeout(PATIENCE)
        return self.known[key]


class Tab:
    """A page that remembers what must not happen: requests elsewhere, dialogs, errors on the console."""

    def __init__(self, contexts, allowed, **options):
        self.allowed, self.errors, self.dialogs, self.elsewhere = allowed, [], [], []
        self.page = contexts.get(**options).new_page()
        self.page.on("request", self._look)
        self.page.on("console", lambda message: self._note(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("dialog", self._dismiss)

    def _note(self, text):
        self.errors.append(re.sub(r"[0-9a-f-]{36}|\d+", "#", text))

    def _look(self, request):
        if not request.url.startswith(self.allowed):
            self.elsewhere.append(request.url)

    def _dismiss(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def tab(chromium):
    """Opens tabs; none of them may meet a dialog or ask for anything but what it was allowed."""
    tabs = []

    def new(*allowed, **options):
        tabs.append(Tab(chromium, ("data:", "blob:", *allowed), **options))
        return tabs[-1]

    yield new
    for one in tabs:
        one.page.close()
    assert [one.dialogs for one in tabs if one.dialogs] == []
    assert [one.elsewhere for one in tabs if one.elsewhere] == []


class Lab:
    """A JupyterLab server with folders of its own."""

    def __init__(self, folder):
        self.notebooks = folder / "notebooks"
        settings = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}  # asks for news
        (folder / "config" / "labconfig").mkdir(parents=True)
        (folder / "config" / "labconfig" / "page_config.json").write_text(json.dumps(settings))
        names = ["CONFIG", "DATA", "RUNTIME"]
        own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in names}
        own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
        own |= {"IPYTHONDIR": str(folder / "ipython"), "HOME": str(folder), "PYTHONPATH": str(ROOT)}
        own |= {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment = os.environ | own
        self.notebooks.mkdir()
        self.log = folder / "log"
        self.token = secrets.token_hex()
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", f"--notebook-dir={self.notebooks}"]
        options += [f"--IdentityProvider.token={self.token}", "--LabApp.extension_manager=readonly"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        self.url = self._started(folder / "runtime" / f"jpserver-{self.process.pid}.json")

    def _started(self, info):
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.url = json.loads(info.read_text())["url"]
                self.ask("status")
                return self.url
            except (OSError, ValueError, KeyError):  # not yet written, or written in part
                time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-2000:]}")

    def ask(self, what, method="GET"):
        """The server's own interface."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}api/{what}", headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE / 1000) as answer:
            return json.loads(answer.read() or "null")

    def stop(self):
        """Ends the kernels and then the server."""
        try:
            for session in self.ask("sessions"):
                self.ask(f"sessions/{session['id']}", "DELETE")
        finally:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def write(self, name, *cells, trusted=False):
        """A notebook of executed code cells, each (source, object to show) or a source, and of headings, "# x";
        signed if trusted."""
        import nbformat

        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        for i, cell in enumerate(cells):
            source, *shown = [cell] if isinstance(cell, str) else cell
            if source.startswith("# "):
                notebook.cells.append(nbformat.v4.new_markdown_cell(source, id=f"cell{i}"))
                continue
            outputs = [
                nbformat.v4.new_output("execute_result", x._repr_mimebundle_(), execution_count=i + 1) for x in shown
            ]
            notebook.cells.append(
                nbformat.v4.new_code_cell(source, id=f"cell{i}", outputs=outputs, execution_count=i + 1)
            )
        path = self.notebooks / f"{name}.ipynb"
        nbformat.write(notebook, path)
        if trusted:
            command = [sys.executable, "-m", "nbformat.sign", str(path)]
            subprocess.run(command, env=self.environment, check=True, capture_output=True)
        return name

    def open(self, tab, name):
        """The notebook in a workspace of its own, once its cells are there."""
        one = tab(self.url, self.url.replace("http", "ws", 1))
        one.page.goto(f"{self.url}lab/workspaces/{name}/tree/{name}.ipynb?token={self.token}&reset")
        one.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        one.page.locator("#jupyterlab-splash").wait_for(state="detached")
        # a server that is stopped while a kernel starts leaves the kernel behind
        one.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        return one


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """JupyterLab. usual_errors: what it writes to the console by itself, for an empty notebook."""
    for needed in "jupyterlab", "ipykernel", "nbformat":
        pytest.importorskip(needed, reason="JupyterLab tests need the extra `notebooks`")
    server = Lab(tmp_path_factory.mktemp("lab"))
    try:
        empty = server.open(lambda *allowed: Tab(chromium, ("data:", "blob:", *allowed)), server.write("empty", ""))
        server.usual_errors = set(empty.errors)
        empty.page.close()
        yield server
    finally:
        server.stop()
