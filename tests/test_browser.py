"""The pages in headless Chromium: uv run --with selenium pytest -m slow tests/test_browser.py"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from PIL import Image
from support.serving import Server, servers, write_boxes_onnx

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def pages(colors_run: Run, scenes_run: Run, colors: Path, command, tmp_path: Path) -> list[Path]:
    """Of a run, of an evaluation, of a comparison, of data checks without and with boxes."""
    run = colors_run.directory
    command("evaluate", f"ckpt={run}", f"report={tmp_path}/report", "accelerator=cpu")
    command("compare", f"runs={run}", str(run), f"output={tmp_path}/comparison.html")
    command("check", f"data.root={colors}", f"output={tmp_path}/check")
    command("check", "task=detection", "data.scenes=40", f"output={tmp_path}/boxes", "data.cache=none")
    names = ("report/index.html", "comparison.html", "check/check.html", "boxes/check.html")
    first, last = (one / "report" / "index.html" for one in (run, scenes_run.directory))
    return [first, *(tmp_path / name for name in names), last]


def test_pages_load_without_a_complaint(browser: Any, pages: list[Path]) -> None:
    for page in pages:
        for width in (1250, 400):
            browser.set_window_size(width, 900)
            browser.get(page.as_uri())
            sizes = browser.execute_script("return [...document.images].map((i) => i.complete && i.naturalWidth)")
            assert all(sizes) and (sizes or "report" not in str(page)), page
            wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, (page, width)
            assert browser.get_log("browser") == []


def test_tables_sort(browser: Any, pages: list[Path]) -> None:
    browser.set_window_size(1250, 900)
    browser.get(pages[0].as_uri())
    column = (
        "const table = [...document.querySelectorAll('table.sortable')].find((t) => t.textContent.includes('recall'));"
        "const heading = table.tHead.rows[0].cells[arguments[0]];"
        "if (arguments[1]) heading.querySelector('button').click();"
        "const texts = [...table.tBodies[0].rows].map((row) => row.cells[arguments[0]].textContent);"
        "return [heading.getAttribute('aria-sort'), texts];"
    )
    assert browser.execute_script(column, 0, False) == [None, ["blue", "green", "red"]]
    assert browser.execute_script(column, 0, True) == ["descending", ["red", "green", "blue"]]
    assert browser.execute_script(column, 0, True) == ["ascending", ["blue", "green", "red"]]
    order, values = browser.execute_script(column, 4, True)
    assert order == "descending" and values == sorted(values, key=int, reverse=True)


def test_scripts_from_elsewhere_do_not_run(browser: Any, pages: list[Path], tmp_path: Path) -> None:
    """The page's policy holds even for a script that stood in it."""
    script = "<script>document.title = 'hijacked'</script>"
    hostile = pages[0].read_text(encoding="utf-8").replace("<h1>", f"{script}<h1>", 1)
    (tmp_path / "hostile.html").write_text(hostile, encoding="utf-8")
    browser.get((tmp_path / "hostile.html").as_uri())
    assert browser.title == "run"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    hostile = ["<b>red</b>", "green", "blue"]
    with servers() as start:
        yield start(f"model={write_boxes_onnx(tmp_path / 'model.onnx', class_names=hostile)}")


def test_the_service_draws_boxes_on_the_image(browser: Any, server: Server, tmp_path: Path) -> None:
    """Upright, over the very place, with names as text."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200), (200, 0, 0)).save(tmp_path / "<i>turned.jpg", exif=exif)
    Image.new("RGB", (300, 100)).save(tmp_path / "nothing.png")
    shapes = (
        "return [...document.querySelectorAll('#cards li')].map((item) => {"
        "const side = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; };"
        "return [side(item.querySelector('img')), [...item.querySelectorAll('rect')].map(side),"
        "item.querySelector('.answer').textContent, item.querySelectorAll('b b, i i').length]; });"
    )
    for width in (1250, 400):
        browser.set_window_size(width, 900)
        browser.get(f"http://127.0.0.1:{server.port}/")
        browser.find_element("id", "files").send_keys(f"{tmp_path}/<i>turned.jpg\n{tmp_path}/nothing.png")
        WebDriverWait(browser, 20).until(lambda b: b.find_element("id", "status").text == "2 images")
        first, second = browser.execute_script(shapes)
        (left, top, wide, high), (box,) = first[0], first[1]
        assert high == pytest.approx(1.5 * wide, abs=1)
        assert box == pytest.approx([left, top, wide / 2, high / 2], abs=3)
        assert first[2:] == ["<b>red</b>", 0] and second[1:] == [[], "nothing found", 0]
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert browser.get_log("browser") == []


def test_the_service_paints_what_objects_cover(browser: Any, tmp_path: Path) -> None:
    """Where the image is not black, in the class's colour; a click takes the masks away."""
    image = Image.new("RGB", (300, 200))
    image.paste((200, 0, 0), (30, 20, 120, 70))
    image.save(tmp_path / "a.png")
    alpha = (
        "const canvas = document.querySelector('#cards canvas'), pen = canvas.getContext('2d');"
        "const {data, width} = pen.getImageData(0, 0, canvas.width, canvas.height);"
        "return [width, canvas.height, ...[...arguments].map(([x, y]) => data[4 * (y * width + x) + 3])];"
    )
    inside, outside = [[30, 20], [119, 69], [60, 40]], [[29, 20], [30, 19], [120, 69], [119, 70], [299, 199]]
    with servers() as start:
        server = start(f"model={write_boxes_onnx(tmp_path / 'model.onnx', masks=True)}")
        browser.set_window_size(1250, 900)
        browser.get(f"http://127.0.0.1:{server.port}/")
        browser.find_element("id", "files").send_keys(f"{tmp_path}/a.png")
        WebDriverWait(browser, 20).until(lambda b: b.find_element("id", "status").text == "1 image")
        assert browser.execute_script(alpha, *inside, *outside) == [300, 200, 255, 255, 255, 0, 0, 0, 0, 0]
        browser.execute_script("document.querySelector('#cards .image').click()")
        assert browser.execute_script("return document.querySelector('#cards canvas').className") == "mask hidden"
        assert browser.get_log("browser") == []
