"""The server of `basicsr demo`: it answers at one port, and neither it nor the page fetches anything elsewhere."""

import atexit
import ipaddress
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, NoReturn

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio import processing_utils
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware

from msgnn_plugin.cli.demo_page import CSS, make_theme

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Inline and evaluated scripts are gradio's own, whose pages stop without them. Everything else that the browser fetches
# comes from this server.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        OSError: If the port is taken or not allowed, or the address is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(
            f"demo: `--port` must be free and `--host` an address of this machine, got {host} port {port} "
            f"({reason}); choose another, for example `--port 0`."
        ) from error


def serve(page: gr.Blocks, port: socket.socket, *, max_bytes: int, only_here: bool) -> None:
    """Serve a page until the process is told to stop, or, which is a fault, the server ends by itself.

    Args:
        page: The page.
        port: The socket that listens.
        max_bytes: Largest file that may be uploaded.
        only_here: Whether the page must be asked for by a name of this machine, so that no page elsewhere can have
            its own name point here.

    Raises:
        KeyboardInterrupt: On Ctrl-C or SIGTERM.
    """
    processing_utils.async_ssrf_protected_get = _refuse_to_download
    without_api_pages = {"openapi_url": None}
    app = FastAPI(**without_api_pages)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        app_kwargs=without_api_pages,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        css=CSS,
    )
    app.add_middleware(_OnlyFromHere)
    host, number = port.getsockname()[:2]
    if only_here:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", host])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    # A daemon, and so are the threads it starts: Ctrl-C waits neither for open pages nor for a picture in work.
    thread = threading.Thread(target=server.run, args=([port],), daemon=True)
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    print(f"Open http://{f'[{host}]' if ':' in host else host}:{number} in a browser; Ctrl-C ends.", flush=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(1)
    except KeyboardInterrupt:
        # PyTorch's threads abort a process that ends by the usual way while they are at work.
        atexit.register(os._exit, 130)
        raise


class _OnlyFromHere:
    """Tells the browser to fetch from this server alone."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        await self.app(scope, receive, send_with_policy)


async def _refuse_to_download(url: str) -> NoReturn:
    """Stand in for what fetches the address that a request gives in place of an uploaded file."""
    raise ValueError("demo: a picture must be uploaded, got an address.")
