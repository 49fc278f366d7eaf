"""Drives the page of 'ruyi serve' in a real browser, as people do.

    test_page.py [--shots FOLDER] [URL]

Without a URL the program is started on a folder of its own. Checks run in order on one server, each in a fresh
browser context; what one leaves behind (clips in the gallery) is there for the next. RUYI names the executable, CHROMIUM
the browser.
"""

import argparse
import base64
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "Sources/RuyiServe/Page"
PICTURE = ROOT / "Tests/Pictures/lake.jpg"
OTHER_PICTURE = ROOT / "Tests/Pictures/coffee.jpg"
SIZE_LIMIT = 60_000
RENDER_SECONDS = 120
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}


@contextlib.contextmanager
def started():
    """The address of a server on an empty folder."""
    executable = os.environ.get("RUYI", ROOT / ".build/release/ruyi")
    with tempfile.TemporaryDirectory() as folder:
        command = [executable, "serve", "--port", "0", "--folder", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                address = server.stdout.readline().strip()
                if not re.fullmatch(r"http://127\.0\.0\.1:\d+/", address):
                    raise SystemExit(f"test-page: the server printed {address!r}, not its address")
                yield address
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(30)


class Visit:
    """A page in a context of its own, whose console must stay empty."""

    def __init__(self, browser, address, shots, name, viewport=None, **context):
        self.name = name
        self.shots = shots
        self.context = browser.new_context(viewport=viewport or WIDE, **context)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.problems = []
        self.page.on("console", lambda line: self.notice(line) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.watch(request.url, address))

    def notice(self, line):
        # The browser's own words of a refusal that a check provokes.
        if not line.text.startswith("Failed to load resource"):
            self.problems.append(line.text)

    def watch(self, url, address):
        if not url.startswith((address, "data:", "blob:")):
            self.problems.append(f"a request to elsewhere: {url}")

    def shot(self, what, full_page=False):
        if self.shots:
            self.page.screenshot(path=self.shots / f"{self.name}-{what}.png", full_page=full_page)

    def open(self, address):
        self.page.goto(address)
        expect(self.page.locator("#first-options .field").first).to_be_visible()

    def close(self):
        self.context.close()
        assert not self.problems, self.problems

    # What people do.

    def choose_picture(self, picture=PICTURE):
        self.page.locator("#start-well input[type=file]").set_input_files(picture)
        self.wait_for_plan()

    def wait_for_plan(self):
        expect(self.page.locator("#plan .facts")).to_be_visible(timeout=30_000)
        expect(self.page.locator("#plan")).not_to_have_attribute("aria-busy", "true", timeout=30_000)

    def wait_until(self, is_so, what, seconds=15):
        """Waits from outside the page, whose security policy allows no script that waits inside."""
        for _ in range(seconds * 10):
            if is_so():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"in {seconds} seconds not: {what}")

    def option(self, key):
        return self.page.locator(f"#option-{key}")

    def make_small(self, steps=2, size="128x96", frames=8):
        """Asks for a clip that takes seconds."""
        self.option_in_sight("frames")
        for key, value in {"size": size, "frames": str(frames), "steps": str(steps)}.items():
            self.option(key).fill(value)
        self.wait_for_plan()
        width, height = size.split("x")
        expect(self.page.locator("#plan .facts")).to_contain_text(f"{width}×{height}", timeout=30_000)

    def option_in_sight(self, key):
        if not self.option(key).is_visible():
            self.page.locator("#more > summary").click()
        expect(self.option(key)).to_be_visible()

    def render(self):
        self.page.get_by_role("button", name="Render", exact=True).click()

    @property
    def clips(self):
        return self.page.locator("#gallery > .clip")

    @property
    def running(self):
        return self.page.locator("#jobs > .running")

    @property
    def waiting(self):
        return self.page.locator("#jobs > .waiting")


def check_size(visit):
    """The page's files are small."""
    size = sum(file.stat().st_size for file in PAGE.iterdir())
    assert size < SIZE_LIMIT, f"{size} bytes, at most {SIZE_LIMIT}"


def check_empty(visit):
    """An empty page says what to do, and Render leads to what is missing."""
    expect(visit.page.locator("#empty")).to_be_visible()
    expect(visit.page.locator("#plan")).to_contain_text("Choose a picture")
    visit.render()
    expect(visit.page.locator("#start-well input")).to_be_focused()
    visit.shot("page")
    audit(visit)


def check_drop(visit):
    """A picture that is dropped on the page is shown with its crop, and planned."""
    data = base64.b64encode(PICTURE.read_bytes()).decode()
    visit.page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "lake.jpg", {type: "image/jpeg"}));
            const event = name => new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true});
            for (const name of ["dragover", "drop"]) document.querySelector("#clips").dispatchEvent(event(name));
        }""",
        data,
    )
    visit.wait_for_plan()
    expect(visit.page.locator("#start-well .shown img")).to_be_visible()
    expect(visit.page.locator("#start-well .crop")).to_be_visible()
    expect(visit.page.locator("#plan .facts")).to_contain_text("frames")
    visit.option("size").fill("256x96")
    expect(visit.page.locator("#plan .facts")).to_contain_text("256×96", timeout=30_000)
    box, image = (visit.page.locator(f"#start-well .shown {part}").bounding_box() for part in (".crop", "img"))
    assert abs(box["width"] / box["height"] - 256 / 96) < 0.1, "the crop has the clip's shape"
    assert box["height"] < image["height"] * 0.8, "the crop is a part of the picture"
    visit.shot("crop")
    visit.page.get_by_role("button", name="Remove: Picture", exact=True).click()
    expect(visit.page.locator("#plan")).to_contain_text("Choose a picture")


def check_paste(visit):
    """A picture that is pasted is taken."""
    visit.page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(320, 240);
            canvas.getContext("2d").fillRect(20, 20, 50, 50);
            const transfer = new DataTransfer();
            transfer.items.add(new File([await canvas.convertToBlob()], "pasted.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true}));
        }"""
    )
    visit.wait_for_plan()
    expect(visit.page.locator("#start-well")).to_contain_text("320×240")


def check_no_picture(visit):
    """A file that is no picture is refused in the server's words."""
    visit.page.locator("#start-well input[type=file]").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"these are words"}
    )
    expect(visit.page.locator("#start-well .help")).to_contain_text("picture")
    visit.shot("page")


def check_refusal(visit):
    """What does not fit is refused with what would fit, a click away."""
    visit.choose_picture()
    visit.option_in_sight("frames")
    visit.option("frames").fill("240")
    visit.option("size").fill("4000x4000")
    refusal = visit.page.locator("#plan .refusal")
    expect(refusal).to_contain_text("memory", timeout=30_000)
    visit.shot("memory")
    audit(visit)
    use = refusal.get_by_role("button", name=re.compile("^Use "))
    if use.count():
        use.first.click()
        visit.wait_for_plan()
    visit.option("size").fill("nonsense")
    expect(refusal).to_contain_text("nonsense", timeout=30_000)
    visit.shot("size")


def check_render(visit):
    """A clip is rendered: its preview moves, it plays, and its command line can be copied."""
    visit.choose_picture()
    visit.make_small(steps=24)
    previews = []
    visit.page.on(
        "response", lambda answer: previews.append(answer.body()) if "/preview" in answer.url and answer.ok else None
    )
    visit.render()
    expect(visit.running).to_have_count(1)
    expect(visit.running.locator(".preview")).to_be_visible(timeout=RENDER_SECONDS * 1000)
    visit.shot("running")
    audit(visit)
    expect(visit.clips).to_have_count(1, timeout=RENDER_SECONDS * 1000)
    assert len(set(previews)) > 1, f"{len(previews)} previews, {len(set(previews))} different"
    expect(visit.running).to_have_count(0)
    visit.page.get_by_role("button", name=re.compile("^Watch ")).click()
    film = visit.page.locator("#viewer video")
    expect(film).to_be_visible()
    visit.wait_until(lambda: film.evaluate("film => film.readyState >= 2 && film.currentTime > 0"), "the clip plays")
    visit.shot("viewer")
    audit(visit)
    visit.page.locator("#viewer").get_by_role("button", name="Copy the command line").click()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("ruyi "), copied
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#viewer")).not_to_be_visible()
    with visit.page.expect_download() as download:
        visit.clips.get_by_role("link", name=re.compile("^Download ")).click()
    assert download.value.suggested_filename.endswith(".mp4")


def check_again(visit):
    """A clip's settings fill the form; only what differs from the defaults is sent; variations are a strip."""
    visit.page.get_by_role("button", name=re.compile("^Again with a change")).first.click()
    expect(visit.option("steps")).to_have_value("24")
    visit.wait_for_plan()
    visit.option("steps").fill("2")
    visit.page.locator("#variations").fill("2")
    with visit.page.expect_request(lambda request: request.url.endswith("/v1/videos")) as sent:
        visit.page.keyboard.press("Control+Enter")
    request = sent.value.post_data_json
    assert request["steps"] == 2 and request["variations"] == 2 and request["frames"] == 8, request
    assert not {"guidance", "camera", "fit", "seed", "prompt"} & set(request), request
    expect(visit.clips).to_have_count(2, timeout=RENDER_SECONDS * 1000)
    strip = visit.clips.first.locator(".strip button")
    expect(strip).to_have_count(2, timeout=RENDER_SECONDS * 1000)
    before = visit.clips.first.locator("h3").inner_text()
    visit.clips.first.locator(".strip button[aria-pressed=false]").click()
    expect(visit.clips.first.locator("h3")).not_to_have_text(before)
    visit.shot("gallery")
    audit(visit)


def check_queue(visit):
    """Jobs change places, by buttons and keys, and are cancelled; the others go on."""
    visit.choose_picture(OTHER_PICTURE)
    visit.make_small(steps=60, size="256x192", frames=24)
    visit.page.locator("#variations").fill("4")
    visit.page.keyboard.press("Control+Enter")
    expect(visit.running).to_have_count(1)
    expect(visit.waiting).to_have_count(3)
    names = lambda: visit.waiting.locator("h3").all_inner_texts()
    before = names()
    front = visit.page.get_by_role("button", name=f"Move {before[2]} to the front")
    front.click()
    expect(visit.waiting.locator("h3").first).to_have_text(before[2])
    expect(front).to_be_focused()
    up = visit.page.get_by_role("button", name=f"Move {before[1]} up")
    up.focus()
    visit.page.keyboard.press("Alt+ArrowUp")
    expect(visit.waiting.locator("h3").nth(1)).to_have_text(before[1])
    expect(up).to_be_focused()
    visit.shot("order")
    audit(visit)
    for name in names():
        visit.page.get_by_role("button", name=f"Cancel {name}").click()
    expect(visit.waiting).to_have_count(0)
    running = visit.running.locator("h3").inner_text()
    visit.page.get_by_role("button", name=f"Cancel {running}").click()
    expect(visit.page.locator("#ended > li")).to_have_count(4, timeout=RENDER_SECONDS * 1000)
    visit.shot("cancelled")


def check_delete(visit):
    """What is deleted can be taken back for a while, and then is gone."""
    visit.page.locator("#ended > li").first.get_by_role("button", name=re.compile("^Delete ")).click()
    expect(visit.page.locator("#ended > li")).to_have_count(3)
    visit.page.get_by_role("button", name="Undo").click()
    expect(visit.page.locator("#ended > li")).to_have_count(4)
    while visit.page.locator("#ended > li").count():
        visit.page.locator("#ended > li").first.get_by_role("button", name=re.compile("^Delete ")).click()
    expect(visit.page.locator(".toast")).to_have_count(0, timeout=20_000)
    visit.page.reload()
    expect(visit.clips).not_to_have_count(0)
    expect(visit.page.locator("#ended > li")).to_have_count(0)


def check_away(visit):
    """A server that does not answer is named, and found again without a hand."""
    visit.page.route("**/v1/**", lambda route: route.abort())
    visit.page.reload()
    expect(visit.page.locator("#away")).to_contain_text("does not answer")
    visit.shot("page")
    visit.page.unroute("**/v1/**")
    expect(visit.page.locator("#away")).to_be_empty(timeout=20_000)
    expect(visit.clips).not_to_have_count(0)


def check_keyboard(visit):
    """The whole way by keyboard alone, with the focus always in sight."""
    page = visit.page

    def tab_to(selector, key="Tab", most=200):
        for _ in range(most):
            page.keyboard.press(key)
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate(FOCUS_IS_SHOWN), f"no focus to be seen on {selector}"
                return
        raise AssertionError(f"{selector} is not reached by {key}")

    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    tab_to("#start-well input")
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_event("filechooser")
    choosers[0].set_files(PICTURE)
    visit.wait_for_plan()
    tab_to("#option-size")
    page.keyboard.type("128x96")
    tab_to("#option-camera, [name=option-camera]")
    page.keyboard.press("ArrowDown")
    tab_to("#option-steps")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    tab_to("#more > summary")
    if not page.locator("#more").evaluate("more => more.open"):
        page.keyboard.press("Enter")
    tab_to("#option-frames")
    page.keyboard.press("Control+a")
    page.keyboard.type("8")
    visit.wait_for_plan()
    before = visit.clips.count()
    tab_to("#render")
    visit.shot("focus")
    page.keyboard.press("Enter")
    expect(visit.clips).to_have_count(before + 1, timeout=RENDER_SECONDS * 1000)
    tab_to("#gallery .open")
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('#gallery .open')"), "focus comes back to the clip"


FOCUS_IS_SHOWN = """() => {
    const shown = element => element && getComputedStyle(element).outlineStyle !== "none";
    const { activeElement: element } = document;
    return [element, element.closest("label"), element.nextElementSibling].some(shown);
}"""


def check_phone(visit):
    """At a phone's width nothing is cut off, and fingers find the buttons."""
    visit.choose_picture()
    visit.option_in_sight("frames")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert visit.page.evaluate(overflow) <= 0, "the page scrolls sideways"
    visit.shot("page", full_page=True)
    visit.shot("top")
    audit(visit)
    visit.page.get_by_role("link", name=re.compile("^Clips")).click()
    visit.page.get_by_role("button", name=re.compile("^Watch ")).first.click()
    assert visit.page.evaluate(overflow) <= 0, "the viewer scrolls sideways"
    visit.shot("viewer")
    small = visit.page.evaluate(
        """() => [...document.querySelectorAll("button, a, summary")]
            .filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 24).map(one => one.outerHTML)"""
    )
    assert not small, small


def check_dark(visit):
    """The dark page has contrast too."""
    visit.choose_picture()
    visit.option_in_sight("frames")
    visit.shot("page")
    audit(visit)


def check_still(visit):
    """Whoever wants no motion gets none by itself."""
    visit.clips.first.hover()
    visit.page.get_by_role("button", name=re.compile("^Watch ")).first.click()
    visit.page.wait_for_timeout(500)
    assert visit.page.locator("#viewer video").evaluate("film => film.paused")


def audit(visit):
    """What axe-core finds wrong for assistive technology."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(visit.page, options={"runOnly": {"type": "tag", "values": tags}}).response["violations"]
    assert not found, "\n".join(
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found
    )


CHECKS = [
    (check_size, {}),
    (check_empty, {}),
    (check_drop, {}),
    (check_paste, {}),
    (check_no_picture, {}),
    (check_refusal, {}),
    (check_render, {}),
    (check_again, {}),
    (check_queue, {}),
    (check_delete, {}),
    (check_away, {}),
    (check_keyboard, {}),
    (check_phone, {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}),
    (check_dark, {"color_scheme": "dark"}),
    (check_still, {"reduced_motion": "reduce"}),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", help="a running server (its gallery should be empty)")
    parser.add_argument("--shots", type=pathlib.Path, metavar="FOLDER", help="write pictures of the page here")
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="run these checks alone")
    arguments = parser.parse_args()
    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    server = contextlib.nullcontext(arguments.url) if arguments.url else started()
    with server as address, sync_playwright() as playwright:
        chromium = shutil.which(os.environ.get("CHROMIUM", "chromium"))
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for check, context in CHECKS:
            name = check.__name__.removeprefix("check_")
            if arguments.only and name not in arguments.only:
                continue
            begun = time.monotonic()
            visit = None
            try:
                visit = Visit(browser, address, arguments.shots, name, **context)
                visit.open(address)
                check(visit)
                visit.close()
                verdict = "ok"
            except (AssertionError, Error) as error:
                failed += 1
                verdict = "\n".join(["FAILED", str(error), *(visit.problems if visit else [])])
                if visit:
                    with contextlib.suppress(Error):
                        visit.shot("failed")
                        visit.context.close()
            print(f"{name:12} {time.monotonic() - begun:5.1f} s  {verdict}", flush=True)
        browser.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
