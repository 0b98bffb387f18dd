"""The sheet of keys: every key that it lists is pressed, and does what the sheet says."""

from collections.abc import Callable
from typing import Any

import pytest
from pages import Visitor

pytestmark = pytest.mark.xdist_group("review page")
KEY = ("film", "hi", "shot_0002")  # frames 12 to 83
PRESS = {"Space": " ", "←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown", "Esc": "Escape",
         "Page up": "PageUp", "Page down": "PageDown"}  # fmt: skip


def sheet(page: Any) -> list[str]:
    """The keys that the sheet lists, as it writes them, each once."""
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert page.evaluate("() => document.activeElement.textContent") == "Close"  # no key turns anything off by mistake
    listed: list[str] = page.locator("#help-keys kbd").all_inner_texts()
    page.keyboard.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    page.wait_for_function("() => !document.activeElement.closest('dialog')")
    assert len(set(listed)) == len(listed)
    return listed


class Presser:
    """Presses keys of a sheet and notes which."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.pressed = {"?"}

    def press(self, shown: str) -> None:
        self.pressed.add(shown)
        self.page.keyboard.press("+".join(PRESS.get(part, part) for part in shown.split(" + ")))

    def then(self, shown: str, expression: str) -> None:
        """The key makes a JavaScript expression true that was not."""
        assert not self.page.evaluate(expression), f"{shown}: {expression}"
        self.press(shown)
        self.page.wait_for_function(f"() => {expression}")

    def opens(self, shown: str, dialog: str) -> None:
        self.press(shown)
        self.page.wait_for_selector(f"{dialog}[open]")
        self.page.keyboard.press("Escape")
        self.page.wait_for_selector(dialog, state="hidden")
        self.page.wait_for_function("() => !document.activeElement.closest('dialog')")


def attribute(selector: str, name: str, value: str) -> str:
    return f"document.querySelector('{selector}').getAttribute('{name}') === '{value}'"


def test_every_key_of_the_shot_page_does_what_the_sheet_says(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    keys = Presser(page)
    listed = sheet(page)
    pressed_mode = "[data-mode={}]".format
    for shown, frame in [("End", 83), ("Home", 12), (".", 13), ("→", 14), (",", 13), ("←", 12), ("Shift + →", 22),
                         ("Shift + ←", 12)]:  # fmt: skip
        keys.press(shown)
        ana.at(frame)
    keys.then("=", "document.querySelector('#speed').value === '1.5'")
    keys.then("-", "document.querySelector('#speed').value === '1'")
    keys.then("h", "document.querySelector('#loop').value === 'handles'")
    keys.then("s", attribute("[data-sound=source]", "aria-pressed", "true"))
    playing, paused = attribute("#play", "data-now", "pause"), attribute("#play", "data-now", "play")
    for start, stop in (("Space", "k"), ("l", "k"), ("j", "k")):
        keys.then(start, playing)
        keys.then(stop, paused)
    for number, mode in enumerate(("side", "wipe", "flicker", "difference"), 1):
        if mode != "side":
            keys.then(str(number), attribute(pressed_mode(mode), "aria-pressed", "true"))
    keys.then("1", attribute(pressed_mode("side"), "aria-pressed", "true"))
    page.keyboard.press("2")
    keys.then("[", "document.querySelector('#adjust-value').value === '46 %'")
    keys.then("]", "document.querySelector('#adjust-value').value === '50 %'")
    keys.then("x", attribute(pressed_mode("flicker"), "aria-pressed", "true"))
    page.keyboard.press("1")
    keys.then("m", attribute("[data-zoom=full]", "aria-pressed", "true"))
    for shown, button in (("b", "#faces"), ("v", "#matte"), ("d", "#draw")):
        keys.then(shown, attribute(button, "aria-pressed", "true"))
    ana.stroke(0.3, 0.5)
    before = page.evaluate("() => document.querySelector('#picture').toDataURL()")
    keys.press("e")
    page.wait_for_function("was => document.querySelector('#picture').toDataURL() !== was", arg=before)
    keys.then("f", "document.fullscreenElement?.id === 'stage'")
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement === null")
    whole = page.get_attribute("#timeline", "data-range")
    keys.then("↑", f"document.querySelector('#timeline').dataset.range !== '{whole}'")
    keys.then("↓", f"document.querySelector('#timeline').dataset.range === '{whole}'")
    for shown, side in (("y", "a"), ("u", "b")):
        was = page.locator(f"input[name=side-{side}]:checked").get_attribute("value")
        keys.then(shown, f"document.querySelector('input[name=side-{side}]:checked').value !== '{was}'")
    page = ana.shot(*KEY)
    for shown, verdict in (("a", "approved"), ("o", "original"), ("t", "chosen")):
        keys.then(shown, f"document.querySelector('#verdict.{verdict}') !== null")
    keys.then("z", "document.querySelector('#verdict.original') !== null")
    keys.opens("r", "#reject")
    keys.opens("c", "#comment")
    keys.opens("g", "#rerun")
    keys.then("Shift + T", "document.documentElement.dataset.theme === 'light'")
    here: Callable[[str], str] = "location.pathname.endsWith('{}')".format
    keys.then("n", here("shot_0001"))
    ana.shown()
    keys.then("p", here("shot_0002"))
    ana.shown()
    keys.then("Shift + Home", here("shot_0001"))
    ana.shown()
    keys.then("w", "document.querySelector('#loop').value === 'film'")
    page.wait_for_function("() => " + here("shot_0002"))  # the film goes on across the cut
    page.keyboard.press("k")
    ana.shown()
    keys.then("q", "location.pathname === '/'")
    page.wait_for_selector("html[data-ready]", state="attached")
    ana.shot(*KEY)
    page.evaluate("() => { document.querySelector('#all-languages').hidden = false; }")  # this film has one dub
    keys.then("Shift + L", "location.pathname === '/languages/film/shot_0002'")
    assert keys.pressed == set(listed)


def test_every_key_of_the_page_of_all_languages_does_what_the_sheet_says(ana: Visitor) -> None:
    page = ana.page
    page.goto(f"{ana.base}/languages/film/shot_0002")
    page.wait_for_selector("html[data-ready]", state="attached")
    keys = Presser(page)
    listed = sheet(page)
    for shown, frame in [("End", 83), ("Home", 12), (".", 13), ("→", 14), (",", 13), ("←", 12), ("Shift + →", 22),
                         ("Shift + ←", 12)]:  # fmt: skip
        keys.press(shown)
        page.wait_for_selector(f'[data-language=hi] canvas[data-drawn="{frame}"]')
    keys.then("0", attribute("[data-hear=source]", "aria-pressed", "true"))
    keys.then("1", attribute("[data-hear=hi]", "aria-pressed", "true"))
    keys.then("Space", attribute("#play", "data-now", "pause"))
    keys.then("m", attribute("#mouths", "aria-pressed", "true"))
    keys.then("Shift + T", "document.documentElement.dataset.theme === 'light'")
    keys.then("q", "location.pathname === '/'")
    assert keys.pressed == set(listed)
    page.goto(f"{ana.base}/dashboard")
    keys = Presser(page)
    listed = sheet(page)
    keys.then("Shift + T", "document.documentElement.dataset.theme === 'dark'")
    keys.then("q", "location.pathname === '/'")
    assert keys.pressed == set(listed)


def test_a_key_is_the_same_with_the_caps_lock_on(ana: Visitor) -> None:
    page = ana.queue()
    page.evaluate("() => document.dispatchEvent(new KeyboardEvent('keydown', { key: 'A' }))")  # no shift key is down
    page.wait_for_selector(".verdict.approved:visible")
    assert page.is_hidden("#selection")
    page.evaluate("() => document.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', shiftKey: true }))")
    page.wait_for_selector("#selection:not([hidden])")
    assert page.inner_text("#selected-count") == "2 shots selected"


def test_every_key_of_the_queue_does_what_the_sheet_says(ana: Visitor) -> None:
    page = ana.queue("?sort=film")
    page.set_viewport_size({"width": 300, "height": 900})  # one column: a row is a shot
    keys = Presser(page)
    listed = sheet(page)
    first, second = (f"document.querySelector('.card.focused')?.dataset.n === '{n}'" for n in "01")
    for shown in ("→", "↓", "j", "End", "Page down"):
        keys.then(shown, second)
        keys.then({"→": "←", "↓": "↑", "j": "k", "End": "Home"}.get(shown, "Page up"), first)
    page.set_viewport_size({"width": 1440, "height": 900})
    selected = "document.querySelectorAll('.card.selected').length === {}".format
    keys.then("x", selected(1))
    keys.then("Esc", selected(0))
    keys.then("Shift + A", selected(2))
    page.keyboard.press("Escape")
    for shown, back in (("Shift + →", False), ("Shift + ←", True), ("Shift + ↓", False), ("Shift + ↑", True)):
        page.keyboard.press("End" if back else "Home")
        keys.then(shown, selected(2))
        page.keyboard.press("Escape")
    page.keyboard.press("Home")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    keys.then("Shift + X", selected(2))
    page.keyboard.press("Escape")
    keys.then("/", "document.activeElement.id === 'search'")
    page.keyboard.press("Escape")
    keys.then("f", "document.activeElement.closest('#facets') !== null")
    keys.then("h", "document.activeElement.closest('#histogram') !== null")
    page.evaluate("() => document.activeElement.blur()")
    page.goto(f"{ana.base}/?status=dubbed")
    page.wait_for_selector("html[data-ready]", state="attached")
    keys.then("0", "location.search === ''")
    decided = "document.querySelector('#progress-text').textContent.endsWith(' {} decided')".format
    page.keyboard.press("Home")
    keys.then("a", decided(1))
    keys.then("z", decided(0))
    page.keyboard.press("Home")
    keys.then("o", decided(1))
    page.keyboard.press("z")
    page.wait_for_function("() => " + decided(0))
    page.keyboard.press("Home")
    keys.press("r")
    page.wait_for_selector("#reject[open]")
    page.keyboard.press("Enter")
    page.wait_for_function("() => " + decided(1))
    page.click("label.value:has-text('undecided')")
    page.keyboard.press("Home")
    page.keyboard.press("a")
    page.wait_for_selector(".card.stale")
    keys.then("u", "document.querySelector('.card.stale:not([hidden])') === null")
    page = ana.queue()
    keys.opens("g", "#rerun")
    keys.opens("e", "#deliver")
    keys.then("Shift + T", "document.documentElement.dataset.theme === 'light'")
    with page.context.expect_page() as opened:
        keys.press("i")
    assert opened.value.url.endswith("/report.html")
    opened.value.close()
    keys.then("d", "location.pathname === '/dashboard'")
    page = ana.queue()
    keys.then("c", "location.pathname === '/cast'")
    page = ana.queue()
    keys.then("Enter", "location.pathname.startsWith('/shot/')")
    assert keys.pressed == set(listed)
