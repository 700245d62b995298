"""The web book in a real browser, without a network.

Pages load without errors, figures are drawn and formulas are set.
"""

import re
import shutil

import pytest

pytest.importorskip("nbconvert", reason="the book needs the extra `notebooks`")

from notebook_tools import load

book = load("book")
PAGES = sorted(path.stem for path in book.SOLVED.glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    assert len(book.build(out)) == len(PAGES) + 1
    return out


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium or Chrome here")
    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--enable-unsafe-swiftshader",
    ]
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page that takes down every error and every request that leaves the computer."""
    opened = browser.new_page(viewport={"width": 1000, "height": 900})
    opened.complaints = []
    opened.on("console", lambda m: opened.complaints.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on(
        "request",
        lambda r: (
            opened.complaints.append(r.url) if not re.match("file:|data:|blob:", r.url) else None
        ),
    )
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_draws_and_typesets(name, folder, page):
    page.goto((folder / f"{name}.html").as_uri())
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))",
        timeout=60_000,
    )
    assert page.complaints == []
    text = page.inner_text("main")
    assert not re.search(r"\\(frac|mathrm|tilde|left|sum|log)\b", text), "a formula was not typeset"
    assert "Traceback" not in text
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "wider than the window"
    )
    alternatives = page.eval_on_selector_all(
        ".plot", "plots => plots.map(p => p.getAttribute('aria-label'))"
    )
    assert all(len(alternative) > 20 for alternative in alternatives)


@pytest.mark.slow
def test_the_book_leads_from_the_index_to_the_last_lesson(folder, page):
    page.goto((folder / "index.html").as_uri())
    page.click(f"a[href='{PAGES[0]}.html']")
    for name in PAGES[1:]:
        page.click(f"nav a[href='{name}.html']")
        assert page.url.endswith(f"{name}.html")
    page.click("nav a[href='index.html']")
    page.fill("#search", "misprint")
    assert page.locator("#found a").first.get_attribute("href") == "02_trait_emotion.html"
    page.fill("#search", "<script>alert(1)</script> zzz")
    assert page.inner_text("#found") == "Nothing found."
    assert page.complaints == []


def test_formulas_become_mathml_and_code_stays():
    assert "<math" in book.typeset("the sum $a_i + b$ of") and "$" not in book.typeset(
        "the sum $a_i + b$ of"
    )
    assert 'display="block"' in book.typeset("$$ \\frac{a}{b} $$")
    assert book.typeset("`$HOME` and 5$ or 6$") == "`$HOME` and 5$ or 6$"
    assert book.typeset("```\n$x$\n```") == "```\n$x$\n```"


def test_text_cannot_end_a_script():
    assert "</script>" not in book.script_safe({"text": "</script><script>alert(1)</script>"})


def test_without_solved_notebooks_it_says_what_to_do(tmp_path):
    with pytest.raises(SystemExit, match="make notebooks"):
        book.build(tmp_path / "out", tmp_path)
