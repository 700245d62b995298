"""A page without code: what one line of Python shows in a notebook, served by Voila to this computer only."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from ctsm_lib.errors import ConfigError

# Only this server is spoken to: Voila's page names a public address for icons that are not needed here.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss: data: blob:; object-src 'none'; frame-ancestors 'none'"
)


def serve_page(
    code: str,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8866,
    theme: str = "light",
    browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve what `code` shows as a page until Ctrl-C. Everybody who opens it gets a kernel of their own.

    Args:
        code: Python whose last line is a widget. Nothing that a visitor types may get into it.
        name: of the page, letters only.
        host, port: where to listen; the next free port if that one is taken.
        theme: light or dark.
        browser: open one.
        announce: is told the address, which carries a token: nobody gets in without it.

    Raises:
        ConfigError: Voila is not installed, no port is free, or the theme does not exist.
    """
    if theme not in ("light", "dark"):
        raise ConfigError(f"Theme {theme!r} is neither light nor dark.")
    try:
        import nbformat
        from traitlets.config import Config
        from voila.app import Voila
    except ImportError:
        raise ConfigError(
            "Serving the page needs Voila: pip install 'ctsm-lab[notebooks]'."
        ) from None
    token = secrets.token_urlsafe(24)

    class Page(Voila):
        """Voila with a word to whoever started it, once it listens."""

        def launch_browser(self) -> None:
            shown = f"[{self.ip}]" if ":" in self.ip else self.ip
            address = f"http://{shown}:{self.port}/?token={token}"
            announce(address)
            if browser:
                import webbrowser

                webbrowser.open(address)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    settings = Config()
    settings.Application.log_level = "WARN"
    settings.Voila.ip = host
    settings.Voila.port = port
    settings.Voila.token = token
    settings.Voila.open_browser = True
    settings.Voila.tornado_settings = {"headers": {"Content-Security-Policy": _POLICY}}
    settings.VoilaConfiguration.theme = theme
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"{name}.ipynb"
        nbformat.write(notebook, path)
        app = Page(config=settings)
        app.initialize([str(path)])
        try:
            app.start()
        except SystemExit:
            raise ConfigError(
                f"No free port near {port} on {host}. Choose another with --port."
            ) from None
