"""A vision-language model as judge, behind the chat interface of OpenAI that vLLM and others serve."""

import base64
import json
import os
import threading
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.curation.judge import Case
from msgnn_plugin.curation.prompts import ask, parse
from msgnn_plugin.curation.vote import Verdict
from msgnn_plugin.data.photographs import read_photograph

_MOST_TOKENS = 8
_QUALITY = 90
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0


class ChatJudge:
    """Shows a model the rainy picture and the references and takes one word for an answer (Eq. 4 of UniRain).

    An answer that is no single YES or NO is counted and asked for again, and so is a call that fails or takes too long;
    after that the judge gives no answer, which is no yes.

    Args:
        name: What to call it in the manifest.
        url: Where the interface begins, for example http://localhost:8000/v1.
        model: Name under which the server knows the model.
        prompt: Version of the question, see `prompts`.
        side: Longest side of the pictures sent, pixels.
        timeout: Longest time a call may take, seconds.
        retries: How often to ask again.
        concurrency: Most calls at a time from one worker.
        key_variable: Environment variable that holds the server's key; None sends none.

    Raises:
        ImportError: If httpx is missing.
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        model: str,
        prompt: str = "1",
        side: int = 448,
        timeout: float = 60.0,
        retries: int = 2,
        concurrency: int = 4,
        key_variable: str | None = None,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise ImportError(
                "distill: `judges.kind` chat must find httpx, got none installed. Install msgnn_plugin[distill]."
            ) from error
        for field, value, least in (
            ("side", side, 28),
            ("timeout", timeout, 0.01),
            ("retries", retries, 0),
            ("concurrency", concurrency, 1),
        ):
            if not value >= least:
                raise ValueError(f"distill: `judges.{field}` must be at least {least}, got {value}.")
        ask(str(prompt), "", 0)
        self.name, self.url, self.model, self.prompt = name, url.rstrip("/"), model, str(prompt)
        self.side, self.timeout, self.retries, self.concurrency = side, timeout, retries, concurrency
        self._free = threading.BoundedSemaphore(concurrency)
        if key_variable and key_variable not in os.environ:
            raise ValueError(f"distill: `judges.key_variable` must name a variable that is set, got {key_variable}.")
        headers = {"Authorization": f"Bearer {os.environ[key_variable]}"} if key_variable else {}
        limits = httpx.Limits(max_connections=concurrency)
        self._client = httpx.Client(timeout=timeout, limits=limits, headers=headers, trust_env=False)
        self._errors = (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError)

    def __call__(self, case: Case) -> Verdict:
        """Judge one pair; threads may call it together."""
        try:
            pictures = [case.rainy, *(read_photograph(reference.path) for reference in case.references)]
        except (OSError, ValueError) as error:
            return Verdict(self.name, None, f"reference unreadable: {error}", failures=1)
        content: list[dict] = [{"type": "text", "text": ask(self.prompt, case.description.caption, len(pictures) - 1)}]
        content += [{"type": "image_url", "image_url": {"url": self._encode(picture)}} for picture in pictures]
        unparseable = failures = 0
        told = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE))
            try:
                answer = self._call(content, attempt)
            except self._errors as error:
                failures += 1
                told = f"{self.name} does not answer: {type(error).__name__}"
                continue
            reliable = parse(answer)
            if reliable is not None:
                reason = "" if reliable else f"unlike real rain: {self.name} says so"
                return Verdict(self.name, reliable, reason, unparseable, failures)
            unparseable += 1
            told = f"{self.name} gives no answer that can be read"
        return Verdict(self.name, None, told, unparseable, failures)

    def _call(self, content: list[dict], attempt: int) -> object:
        """Return the model's answer to one call, whose whole time is bounded."""
        # A model that is asked the same again without any chance gives the same answer again.
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": _MOST_TOKENS,
            "temperature": 0.0 if attempt == 0 else 0.5,
            "seed": attempt,
        }
        with self._free, self._client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
            response.raise_for_status()
            # httpx bounds the time between two pieces; a server that drips them must not hold a worker for ever.
            deadline, data = time.monotonic() + self.timeout, b""
            for piece in response.iter_bytes():
                data += piece
                if time.monotonic() > deadline or len(data) > 1 << 20:
                    raise ValueError("the answer takes too long")
        return json.loads(data)["choices"][0]["message"]["content"]

    def _encode(self, picture: NDArray[np.uint8]) -> str:
        scale = self.side / max(picture.shape[:2])
        if scale < 1:
            size = tuple(max(round(side * scale), 1) for side in picture.shape[1::-1])
            picture = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
