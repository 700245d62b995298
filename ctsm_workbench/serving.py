"""A page without code that shows one widget, served by Voila to this computer only."""

import secrets
import tempfile
import tomllib
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError
from ctsm_workbench.extras import needed_by


def serve_page(
    widget: Callable[..., Any], *arguments: Any, host: str = "127.0.0.1", port: int = 8866,
    theme: str = "light", browser: bool = True, announce: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve a widget as a page until Ctrl-C. Every visitor gets a kernel of their own.

    The page calls the function `widget` of this package with the arguments (texts and numbers). If
    the port is taken, the next free one serves. `announce` receives the address, which holds the
    token that visitors need. Raises `ConfigError` where Voila is missing, no port is free, or the
    theme is neither light nor dark. The title of the page is the name of the widget's package.
    """
    if theme not in ("light", "dark"):
        raise ConfigError(f"Theme {theme!r} is neither light nor dark.")
    with needed_by("The page"):
        import nbformat
        from traitlets.config import Config
        from voila.app import Voila

    token = secrets.token_urlsafe(24)

    class Page(Voila):
        """Voila that announces its address once it listens."""

        def launch_browser(self) -> None:
            shown = f"[{self.ip}]" if ":" in self.ip else self.ip
            address = f"http://{shown}:{self.port}/?token={token}"
            announce(address)
            if browser:
                webbrowser.open(address)

    name = widget.__name__
    code = f"from {widget.__module__} import {name}\n{name}(*{arguments!r})"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    settings = Config(tomllib.loads(Path(__file__).with_name("voila.toml").read_text("utf-8")))
    settings.Voila.update(ip=host, port=port, token=token)
    settings.VoilaConfiguration.theme = theme
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"{widget.__module__.split('.')[1]}.ipynb"
        nbformat.write(notebook, path)
        app = Page(config=settings)
        app.initialize([str(path)])
        try:
            app.start()
        except SystemExit:
            raise ConfigError(f"No free port near {port} on {host}. Change --port.") from None
