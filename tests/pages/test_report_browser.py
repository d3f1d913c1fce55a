"""The page in a real browser: no overflow at two widths, no console message, headings, contrast."""

import json
import math
import re
import shutil
import struct
import subprocess
import zlib
from itertools import pairwise

import pytest

from tests.faults.test_hostile_text import HOSTILE, make_hostile
from tests.helpers.pages import page_of, rich_page
from tests.helpers.records import make_record
from w2v_core.records.store import reserve
from w2v_core.report.files import write_run
from w2v_core.report.index import render_index
from w2v_core.verdict.run import Run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (1280, 390)
PAPERS = {"A4": 703, "Letter": 725}  # CSS pixels between margins of 12 mm
DARK = "@media screen and (prefers-color-scheme: dark)"
SCHEMES = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium"),
]

# A window is never narrower than 500 pixels, a frame can be.
FRAME = """<!DOCTYPE html><title></title><script>
addEventListener('message', message => { document.title = message.data; });
</script><iframe src="page.html" style="border:0;width:{width}px;height:1200px"></iframe>"""

# Runs in a copy of the page without its policy, which would stop it. Visible text is what has a
# text node of its own; its background is the nearest one that is not transparent.
PROBE = """
<script>
const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
const lum = c => c.slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => {
  const [high, low] = [lum(a), lum(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};
const backOf = e => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const faint = [];
for (const e of document.body.querySelectorAll('*')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || e.tagName === 'SCRIPT') continue;
  const style = getComputedStyle(e);
  const front = rgb(e instanceof SVGElement ? style.fill : style.color);
  const ratio = contrast(front, backOf(e));
  if (!(ratio >= 4.5)) faint.push([e.tagName, e.textContent.slice(0, 40), ratio]);
}
const wide = [...document.body.querySelectorAll('*')].filter(e =>
  !e.closest('.scroll > *') && e.tagName !== 'PRE' && !e.closest('svg') &&
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5);
parent.postMessage(JSON.stringify({
  width: window.innerWidth,
  scroll: document.documentElement.scrollWidth,
  wide: wide.map(e => e.tagName + ' ' + e.className),
  headings: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(e => Number(e.tagName[1])),
  faint: faint,
  beyond: [...document.body.querySelectorAll('*')].filter(e => !e.closest('svg') &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(
    e => e.tagName + ' ' + e.className),
  scrolling: [...document.querySelectorAll('*')].filter(
    e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => ({
      over: e.scrollWidth - e.clientWidth, left: e.getBoundingClientRect().left,
      right: e.getBoundingClientRect().right, top: e.getBoundingClientRect().top,
      bottom: e.getBoundingClientRect().bottom})),
  chartText: Math.min(...[...document.querySelectorAll('.chart span, .chart em, .chart p')].filter(
    e => e.textContent.trim()).map(e => parseFloat(getComputedStyle(e).fontSize))),
  alerted: window.alerted || [],
  labels: [...document.querySelectorAll('svg, .scroll')].filter(
    e => !e.getAttribute('aria-label')).length,
}), '*');
</script>
"""


def browse(path, tmp_path, *, width, height=1200, flags=(), action):
    done = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},{height}",
            "--enable-logging=stderr",
            *flags,
            action,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def probe(page, tmp_path, *, width, flags=()):
    """What the browser says of a page: sizes, headings, contrast."""
    path = tmp_path / "page.html"
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path.write_text(open_page.replace("</body>", PROBE + "</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("{width}", str(width)))
    flags = ["--virtual-time-budget=5000", *flags]
    dom, _ = browse(frame, tmp_path, width=1400, flags=flags, action="--dump-dom")
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1)
    return json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def pixels(path):
    """Rows of (red, green, blue) of a PNG of eight bits, as the browser writes it."""
    data = path.read_bytes()
    at, chunks, size = 8, b"", (0, 0, 0)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            columns, lines, depth, colours = struct.unpack(">IIBB", content[:10])
            assert depth == 8
            size = (columns, lines, {2: 3, 6: 4}[colours])
        chunks += content if kind == b"IDAT" else b""
        at += 12 + length
    columns, lines, depth = size
    raw, before, rows = zlib.decompress(chunks), bytes(columns * depth), []
    for i in range(lines):
        start = i * (columns * depth + 1)
        before = unfilter(raw[start], raw[start + 1 : start + 1 + columns * depth], before, depth)
        rows.append([tuple(before[j : j + 3]) for j in range(0, len(before), depth)])
    return rows


def unfilter(kind, line, above, depth):
    """PNG, section 9: each byte is the difference from a prediction by its neighbours."""
    done = bytearray(line)
    for i in range(len(done)):
        left = done[i - depth] if i >= depth else 0
        corner = above[i - depth] if i >= depth else 0
        paeth = min((left, above[i], corner), key=lambda v: abs(left + above[i] - corner - v))
        predicted = (0, left, above[i], (left + above[i]) // 2, paeth)[kind]
        done[i] = (done[i] + predicted) & 255
    return bytes(done)


@pytest.fixture(scope="module")
def page():
    return rich_page()


@pytest.fixture(scope="module", params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=str)
def probed(request, page, tmp_path_factory):
    width, scheme = request.param
    found = probe(page, tmp_path_factory.mktemp("chrome"), width=width, flags=SCHEMES[scheme])
    return width, found


def test_the_page_does_not_scroll_sideways(probed):
    width, found = probed

    assert found["width"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []


def test_the_headings_are_in_order(probed):
    levels = probed[1]["headings"]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_all_text_contrasts_with_what_is_behind_it(probed):
    """WCAG 2.2 AA: 4.5 to 1."""
    assert probed[1]["faint"] == []


def test_every_chart_and_every_scrolling_part_has_a_name(probed):
    assert probed[1]["labels"] == 0


def test_the_text_of_charts_can_be_read_at_every_width(probed):
    """A drawing that is scaled to a phone has letters of four pixels; these keep their size."""
    assert probed[1]["chartText"] >= 11


def test_a_table_that_is_wider_than_a_phone_shows_that_it_goes_on(tmp_path):
    """The ground is darker along the whole edge where a table is cut off, and only there."""
    page = page_of(make_record(), make_record(cell="base-float32-test_clean-graphs-exact"))
    scrolling = probe(page, tmp_path, width=390)["scrolling"]
    cut = next(box for box in scrolling if box["over"] > 20)
    whole = next(box for box in scrolling if box["over"] <= 0)
    image = tmp_path / "phone.png"
    flags = [f"--screenshot={image}", "--allow-file-access-from-files"]
    height = math.ceil(max(cut["bottom"], whole["bottom"])) + 50
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("{width}", "390").replace("1200px", f"{height}px"))
    browse(frame, tmp_path, width=500, height=height + 20, flags=flags, action="--disable-sync")
    rows = pixels(image)

    margin = 8  # of the frame's own page

    def edge(box, x):
        lines = rows[margin + math.ceil(box["top"]) + 2 : margin + math.floor(box["bottom"]) - 2]
        return max(sum(line[margin + x]) for line in lines)

    assert edge(cut, math.floor(cut["right"]) - 2) < edge(cut, math.ceil(cut["left"]) + 1) - 30
    assert edge(whole, math.floor(whole["right"]) - 2) > 3 * 250


@pytest.mark.parametrize("width", PAPERS.values(), ids=PAPERS.keys())
@pytest.mark.parametrize("hostile", [False, True], ids=["night", "hostile"])
def test_paper_clips_nothing_and_has_no_scroll_bars(page, tmp_path, width, hostile):
    shown = page_of(make_hostile(HOSTILE["long"]), make_record()) if hostile else page
    printed = shown.replace("@media print", "@media all").replace(f"{DARK} {{", "@media not all {")
    assert printed.count("@media all") == 1

    found = probe(printed, tmp_path, width=width)

    assert found["beyond"] == []
    assert found["scrolling"] == []
    assert found["faint"] == []


def test_the_browser_has_nothing_to_say(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page)

    _, console = browse(path, tmp_path, width=1280, action="--dump-dom")

    assert console == []


@pytest.mark.parametrize("name", ["html", "attribute", "closing", "long", "newlines"])
def test_hostile_text_neither_executes_nor_overflows(name, tmp_path):
    page = page_of(make_hostile(HOSTILE[name]), make_record())
    trap = "<script>window.alerted = []; window.alert = x => window.alerted.push(x)</script>"

    found = probe(page.replace("<body>", f"<body>{trap}"), tmp_path, width=390)

    assert found["alerted"] == []
    assert found["scroll"] <= 390


def test_the_index_of_hostile_runs_neither_overflows_nor_fades(tmp_path):
    for name in ("html", "long"):
        directory = reserve(tmp_path / "reports", release=HOSTILE[name], run_id=HOSTILE[name])
        write_run(directory, Run(records=(make_hostile(HOSTILE[name]),)))
    reserve(tmp_path / "reports", release="1.24", run_id="killed")

    found = probe(render_index(tmp_path / "reports"), tmp_path, width=390)

    assert (found["wide"], found["faint"], found["headings"]) == ([], [], [1])
    assert found["scroll"] <= 390
