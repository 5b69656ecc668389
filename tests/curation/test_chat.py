import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs faiss, of the extra [distill]")
pytest.importorskip("skimage", reason="needs scikit-image, of the extra [distill]")
pytest.importorskip("httpx", reason="needs httpx, of the extra [distill]")
from msgnn_plugin.curation.chat import ChatJudge
from msgnn_plugin.curation.describe import Description
from msgnn_plugin.curation.judge import Case
from msgnn_plugin.curation.prompts import ask, parse
from msgnn_plugin.curation.vote import decide


class Model:
    """A scripted server on loopback: `answer(body)` gives a word, a status code, or seconds to keep silent."""

    def __init__(self, answer):
        self.calls, self.busy, self.most_busy = [], 0, 0
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with lock:
                    self.calls.append(body)
                    self.busy += 1
                    self.most_busy = max(self.most_busy, self.busy)
                given = answer(body)
                if isinstance(given, float):
                    time.sleep(given)
                    given = "YES"
                with lock:
                    self.busy -= 1
                data = (
                    b"no"
                    if isinstance(given, int)
                    else json.dumps({"choices": [{"message": {"content": given}}]}).encode()
                )
                try:
                    handler.send_response(given if isinstance(given, int) else 200)
                    handler.send_header("Content-Length", str(len(data)))
                    handler.end_headers()
                    handler.wfile.write(data)
                except OSError:
                    pass  # The client has stopped waiting.

            def log_message(handler, *args):  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def serve():
    models = []

    def start(answer):
        models.append(Model(answer))
        return models[-1]

    yield start
    for model in models:
        model.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("msgnn_plugin.curation.chat._FIRST_PAUSE", 0.001)


def case(caption="light rain"):
    picture = np.full((600, 300, 3), 90, np.uint8)
    return Case(picture, picture, Description(caption, np.zeros(1), np.zeros(1)), [], 0.0, None)


def chat(model, **options):
    return ChatJudge(**({"name": "m", "url": model.url, "model": "tiny"} | options))


def test_an_answer_is_a_verdict_and_the_question_is_whole(serve):
    model = serve(lambda body: "Yes.")
    verdict = chat(model)(case())
    assert (verdict.reliable, verdict.unparseable, verdict.failures) == (True, 0, 0)
    (body,) = model.calls
    text, picture = body["messages"][0]["content"]
    assert body["model"] == "tiny"
    assert body["temperature"] == 0
    assert "light rain" in text["text"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert chat(serve(lambda body: "no"))(case()).reliable is False


def test_what_is_no_answer_is_counted_and_asked_again(serve):
    answers = iter(["Yes, because it rains", "", "NO"])
    verdict = chat(serve(lambda body: next(answers)))(case())
    assert (verdict.reliable, verdict.unparseable, verdict.failures) == (False, 2, 0)
    model = serve(lambda body: "maybe")
    verdict = chat(model, retries=1)(case())
    assert (verdict.reliable, verdict.unparseable) == (None, 2)
    assert len(model.calls) == 2
    # The same question without any chance would bring the same answer.
    assert [call["seed"] for call in model.calls] == [0, 1]


def test_failures_and_time_outs_are_bounded(serve):
    answers = iter([500, 404, "yes"])
    assert chat(serve(lambda body: next(answers)))(case()).failures == 2
    slow = serve(lambda body: 1.0)
    begin = time.monotonic()
    verdict = chat(slow, timeout=0.1, retries=1)(case())
    assert (verdict.reliable, verdict.failures) == (None, 2)
    assert time.monotonic() - begin < 0.9
    slow.close()
    assert chat(slow, retries=0, timeout=0.5)(case()).reliable is None


def test_calls_at_a_time_are_bounded(serve):
    model = serve(lambda body: 0.05)
    judge = chat(model, concurrency=2)
    threads = [threading.Thread(target=judge, args=(case(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(model.calls) == 8
    assert model.most_busy <= 2


def test_an_honest_a_random_and_a_failing_judge(serve):
    chance = random.Random(0)
    tossed = {}

    def honest(body):
        return "YES" if "good" in body["messages"][0]["content"][0]["text"] else "NO"

    def toss(body):
        text = body["messages"][0]["content"][0]["text"]
        return tossed.setdefault(text, chance.choice(("YES", "NO")))

    panel = [
        chat(serve(answer), name=name)
        for name, answer in (("honest", honest), ("random", toss), ("failing", lambda body: 503))
    ]
    kept = undecided = 0
    for number in range(20):
        good = number % 2 == 0
        one = case(f"{'good' if good else 'bad'} rain {number}")
        verdicts = [judge(one) for judge in panel]
        luck = tossed[ask("1", one.description.caption, 0)] == "YES"
        decision = decide(verdicts)
        assert [verdict.reliable for verdict in verdicts] == [good, luck, None]
        assert verdicts[2].failures == 3
        # Two must agree: the failing one never helps, and where the others differ nothing is decided.
        assert decision.kept == (good and luck)
        assert decision.decided == (good == luck)
        kept, undecided = kept + decision.kept, undecided + (not decision.decided)
    assert kept > 0
    assert undecided > 0


@pytest.mark.parametrize(
    ("answer", "meant"),
    [("YES", True), (" yes.\n", True), ("**No**", False), ("'NO!'", False)]
    + [(text, None) for text in ("yes no", "Yes, it does", "y", "", "1", "nope", None, ["YES"], {"a": 1})],
)
def test_only_the_one_word_counts(answer, meant):
    assert parse(answer) is meant


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 0}, "`judges.timeout` must be at least 0.01, got 0"),
        ({"concurrency": 0}, "`judges.concurrency` must be at least 1, got 0"),
        ({"prompt": 7}, "`judges.prompt` must be one of 1, got '7'"),
        ({"key_variable": "NO_SUCH_KEY"}, "`judges.key_variable` must name a variable that is set, got NO_SUCH_KEY"),
    ],
)
def test_bad_options(options, told):
    with pytest.raises(ValueError, match=told):
        ChatJudge(name="m", url="http://127.0.0.1:9", model="tiny", **options)
