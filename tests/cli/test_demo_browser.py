"""`basicsr demo` end to end: its server, and its page in headless Chromium."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator
from msgnn_plugin.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio, extra [demo]"),
]
ROOT = Path(__file__).parents[2]
CHROMIUM = [shutil.which(name) for name in ("chromium", "chromedriver")]
SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "num_neighbors": 3, "window_size": 9}
LIMIT = 120  # seconds for anything
SWITCHES = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,1100"
)


class Server:
    """A server in a process of its own, whose temporary files lie in ``folder``."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.log = folder / "log.txt"
        # Whatever it fetched elsewhere would go through this proxy, which never answers.
        self.proxy = socket.create_server(("127.0.0.1", 0))
        self.proxy.setblocking(False)
        proxies = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), f"http://127.0.0.1:{self.proxy.getsockname()[1]}"
        )
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "msgnn_plugin.cli", "demo", "--port", "0", "--device", "cpu", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={
                    **os.environ,
                    **proxies,
                    "TMPDIR": str(folder),
                    "GRADIO_ALLOWED_PATHS": "/",
                    "GRADIO_SHARE": "True",
                },
                # A shell that runs the tests in the background has them ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        wait_for(lambda: "Open http" in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        self.address = re.search("http://[^ ]+", self.log.read_text()).group()

    def ask(self, path, data=None, **headers):
        """Return status, headers and body of an answer."""
        request = urllib.request.Request(self.address + path, data, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=LIMIT) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def upload(self, name, content):
        body = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        content_type = "multipart/form-data; boundary=b"
        return self.ask("/gradio_api/upload", body + content + b"\r\n--b--\r\n", **{"Content-Type": content_type})

    def stop(self):
        self.process.kill()
        self.process.wait(LIMIT)
        self.proxy.close()


def wait_for(condition):
    end = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    paths = [folder / "msgnn.pth", folder / "nlcl.pth"]
    for path, network in zip(paths, (MSGNNArch(**SMALL), NLCLGenerator(num_feat=4, num_blocks=1))):
        torch.save({"params": network.state_dict()}, path)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("server"), "--weights", *weights, "--max-megabytes", "1", "--max-megapixels", "0.1"
    )
    yield server
    server.stop()


@pytest.fixture
def pictures(tmp_path, make_pair):
    """Three pictures of different sizes."""
    paths = []
    for seed, size in enumerate(((96, 144), (120, 90), (70, 160))):
        paths.append(tmp_path / f"rainy {seed}.png")
        Image.fromarray(make_pair(seed, size)[0]).save(paths[-1])
    return paths


class Page:
    """Chromium with the page open, in which every name of a machine leads nowhere."""

    def __init__(self, server, downloads):
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM[0]
        for switch in (*SWITCHES.split(), f"--user-data-dir={downloads / 'profile'}"):
            options.add_argument(switch)
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.ignored = WebDriverException
        self.server = server
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMIUM[1]))
        self.driver.set_page_load_timeout(LIMIT)
        self.open()

    def open(self):
        self.driver.get(self.server.address)
        self.wait(lambda: self.part("#start").is_displayed())

    def part(self, selector):
        return self.driver.find_element("css selector", selector)

    def parts(self, selector):
        return self.driver.find_elements("css selector", selector)

    def wait(self, condition):
        """Wait for something on the page, which is redrawn at any time."""

        def holds():
            try:
                return condition()
            except self.ignored:
                return None

        return wait_for(holds)

    def upload(self, path, box="#picture"):
        for button in self.parts(f"{box} button[aria-label='Clear']"):
            button.click()
        self.wait(lambda: self.part(f"{box} input[type=file]")).send_keys(str(path))

    def sizes(self, selector):
        """Return (width, height) of each picture there, once loaded."""
        script = "return [...document.querySelectorAll(arguments[0])].map(i => [i.naturalWidth, i.naturalHeight])"
        return [tuple(size) for size in self.driver.execute_script(script, selector)]

    def wait_for_text(self, selector, text):
        self.wait(lambda: text in self.part(selector).text)

    def wait_for_sizes(self, selector, *sizes):
        self.wait(lambda: self.sizes(selector) == list(sizes))

    def requests(self):
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
        sockets = [entry["params"] for entry in entries if entry["method"] == "Network.webSocketCreated"]
        return [params["request"]["url"] for params in sent] + [params["url"] for params in sockets]


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    if not all(CHROMIUM):
        pytest.skip("chromium is not installed")
    pytest.importorskip("selenium")
    page = Page(server, tmp_path_factory.mktemp("downloads"))
    yield page
    page.driver.quit()


def test_nothing_but_the_page_is_served(server, weights):
    status, headers, body = server.ask("/")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert not re.search(rb"fonts\.g|cdnjs", body)
    # The environment of the server allows every path, which must not count.
    for path in (weights[0], "/etc/passwd", str(ROOT / "README.md"), "../../etc/passwd", str(server.log)):
        status, _, body = server.ask(f"/gradio_api/file={path}")
        assert status in (403, 404)
        assert b"root:" not in body
    assert server.ask("/", Host="rain.example.org")[0] == 400
    for document in ("/docs", "/openapi.json"):
        assert b'"paths"' not in server.ask(document)[2]
    config = server.ask("/config")[2].decode()
    assert str(ROOT) not in config
    assert str(Path(weights[0]).parent) not in config


def test_too_many_bytes_are_refused(server):
    status, _, body = server.upload("small.png", bytes(1000))
    assert status == 200
    assert len(json.loads(body)) == 1
    assert server.upload("large.png", bytes(2**20 + 1000))[0] == 413


def test_an_address_in_place_of_a_file_is_refused(server):
    event = next(
        each["id"] for each in json.loads(server.ask("/config")[2])["dependencies"] if each["targets"][0][1] == "change"
    )
    file = {"path": "http://192.0.2.1/rain.png", "meta": {"_type": "gradio.FileData"}}
    request = {"data": [file, "msgnn.pth"], "fn_index": event, "session_hash": "abc"}
    status, _, _ = server.ask(
        "/gradio_api/queue/join", json.dumps(request).encode(), **{"Content-Type": "application/json"}
    )
    assert status == 200
    wait_for(lambda: "a picture must be uploaded, got an address" in server.log.read_text())


def test_upload_run_slider_neighbours_download(page, pictures, weights, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    page.upload(pictures[0])
    page.wait_for_sizes("#shown img", (144, 96))
    page.part("#start").click()
    page.wait_for_text("#message", "rainy 0.png by msgnn.pth: done in")
    page.wait_for_sizes("#slider img", (144, 96), (144, 96))

    def cut():
        return float(re.search(r"([\d.]+)%\)", page.parts("#slider img")[1].get_attribute("style")).group(1))

    assert 40 < cut() < 60
    middle = page.part("#slider .slider-wrap")
    ActionChains(page.driver).click_and_hold(middle).move_by_offset(120, 0).release().perform()
    page.wait(lambda: cut() > 65)

    page.part("#download").click()
    file = page.driver.capabilities["chrome"]["userDataDir"]
    result = wait_for(lambda: next(Path(file).parent.glob("rainy 0_derained.png"), None))
    assert main(["restore", str(pictures[0]), "-o", str(tmp_path / "out"), "--weights", weights[0]]) == 0
    expected = cv2.imread(str(tmp_path / "out/rainy 0.png"))
    wait_for(lambda: (found := cv2.imread(str(result))) is not None and np.array_equal(found, expected))

    assert not page.parts("#figure img")
    picture = page.part("#shown img")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    ActionChains(page.driver).move_to_element(picture).click().perform()
    page.wait(lambda: [width for width, _ in page.sizes("#figure img") if width > 1000])
    assert "weight" in page.part("#caption").text


def test_a_model_without_a_graph_says_so(page, pictures):
    page.open()
    page.wait(lambda: page.part("#model input")).click()
    page.wait(lambda: page.parts("[role=option]")[1]).click()
    page.wait_for_text("#caption", "no graph")
    page.wait(lambda: not any(part.is_displayed() for part in page.parts("#exemplar")))
    page.upload(pictures[0])
    page.wait_for_sizes("#shown img", (144, 96))
    page.part("#start").click()
    page.wait_for_text("#message", "by nlcl.pth: done in")


def test_bad_files_get_a_readable_message(page, pictures, tmp_path):
    page.open()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:900])
    Image.new("RGB", (400, 400)).save(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(bytes(2**21))
    sentences = {
        "notes.txt": "notes.txt: the file must be a picture",
        "cut.png": "cut.png: the picture must be complete",
        "large.png": "large.png: a picture must have at most 100,000 pixels, got more.",
    }
    for name, sentence in sentences.items():
        page.upload(tmp_path / name)
        page.wait_for_text("#message [role=alert]", sentence)
        assert not page.parts("#shown img")
    page.open()
    page.upload(tmp_path / "heavy.png")
    page.wait(lambda: "heavy.png" in page.part("body").text and "maximum allowed size" in page.part("body").text)


def test_three_tabs_at_once(page, pictures):
    tabs = []
    for picture in pictures:
        page.driver.switch_to.new_window("tab")
        tabs.append(page.driver.current_window_handle)
        page.open()
        page.upload(picture)
        page.wait(lambda: page.sizes("#shown img"))
    for tab in tabs:
        page.driver.switch_to.window(tab)
        page.part("#start").click()
    for tab, picture in zip(tabs, pictures):
        page.driver.switch_to.window(tab)
        size = Image.open(picture).size
        page.wait_for_text("#message", f"{picture.name} by msgnn.pth: done in")
        page.wait_for_sizes("#slider img", size, size)
        assert page.sizes("#shown img") == [size]


def test_no_request_left_the_machine(page, server):
    page.open()
    requests = [url for url in page.requests() if not url.startswith(("data:", "blob:", "chrome"))]
    assert len(requests) > 50
    assert not [url for url in requests if not url.startswith(f"{server.address}/")]
    with pytest.raises(BlockingIOError):  # nobody asked for a connection
        server.proxy.accept()


def test_ctrl_c_ends_at_once_and_leaves_nothing(weights, tmp_path):
    server = Server(tmp_path, "--weights", weights[0])
    try:
        (content,) = json.loads(server.upload("a.png", bytes(1000))[2])
        assert Path(content).is_relative_to(tmp_path)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(LIMIT) == 130
    finally:
        server.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    assert server.log.read_text().splitlines()[1:] == ["basicsr demo: interrupted."]
