"""The page: many texts in, a table out."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import running

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

BOM = "\ufeff"
ADDED = ["label", "score", "model", "error"]
TEXTS = ["연기가 훌륭하다", "시간이 아깝다", "그냥 그래요"]


@pytest.fixture(autouse=True)
def _shown(screen: Screen) -> None:
    screen.tab("batch")


def run(screen: Screen) -> None:
    screen.find("#batch-run").click()
    expect(screen.find("#batch-run")).to_be_enabled()


def table(screen: Screen) -> list[list[str]]:
    rows = screen.page.evaluate("[...document.querySelectorAll('#table tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    return [list(row) for row in rows]


def saved(screen: Screen) -> tuple[str, list[list[str]]]:
    """The file that is saved, and the rows that Python's own reader finds in it."""
    with screen.page.expect_download() as download:
        screen.find("#batch-save").click()
    assert download.value.suggested_filename == "labels.csv"
    text = Path(download.value.path()).read_bytes().decode()
    return text, [*csv.reader(io.StringIO(text.removeprefix(BOM), newline=""))]


def best(screen: Screen, texts: list[str]) -> list[dict[str, Any]]:
    return [labels[0] for labels in screen.ask("/classify", texts)]


def serving(screen: Screen, name: str = "korean-sentiment") -> str:
    """The model with its version, as a saved table names it."""
    (version,) = [one["version"] for one in screen.service.client.get("/models").json()["models"] if one["name"] == name]
    return f"{name}/{version}"


def upload(screen: Screen, name: str, content: bytes) -> None:
    screen.find("#file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})
    expect(screen.find("#file-name")).to_have_text(name)


def test_every_line_is_classified(screen: Screen) -> None:
    screen.find("#lines").fill("\n".join([TEXTS[0], "", f"  {TEXTS[1]} ", TEXTS[2], ""]))
    run(screen)
    labels = best(screen, TEXTS)
    assert [row[:3] for row in table(screen)] == [
        [str(n), text, label["label"]] for n, (text, label) in enumerate(zip(TEXTS, labels, strict=True), 1)
    ]
    expect(screen.find("#batch-status")).to_have_text("3개를 모두 분류했습니다.")
    _, rows = saved(screen)
    assert rows == [
        ["text", *ADDED],
        *([t, a["label"], json.dumps(a["score"]), serving(screen), ""] for t, a in zip(TEXTS, labels, strict=True)),
    ]


def test_a_file_is_marked_for_excel_where_that_is_wished(screen: Screen) -> None:
    screen.find("#lines").fill(TEXTS[0])
    run(screen)
    assert saved(screen)[0].startswith(f"{BOM}text,label,score,model,error\r\n{TEXTS[0]},")
    screen.find("#bom").uncheck()
    assert saved(screen)[0].startswith("text,label,score,model,error\r\n")


AWKWARD = ['쉼표, 그리고 "따옴표"', "두\n줄", "  빈칸  ", "세미콜론; 탭\t", "'작은 따옴표'", "=1+1", "윈도\r\n줄"]


def marked(text: str, encoding: str) -> bytes:
    """UTF-16 with the mark that Excel writes before it."""
    return (BOM * encoding.startswith("utf-16") + text).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_comes_back_with_its_columns_and_those_of_the_answers(encoding: str, separator: str, screen: Screen) -> None:
    rows = [["번호", "영화평", "별점"], *([str(n), text, "5"] for n, text in enumerate(AWKWARD))]
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=separator).writerows(rows)
    upload(screen, "reviews.csv", marked(written.getvalue(), encoding))
    assert screen.find("#column option").all_inner_texts() == ["번호", "영화평", "별점"]
    assert screen.find("#column").input_value() == "1"
    run(screen)
    labels = best(screen, [text.strip() for text in AWKWARD])
    _, (head, *found) = saved(screen)
    assert head == [*rows[0], *ADDED]
    assert found == [
        [*row, a["label"], json.dumps(a["score"]), serving(screen), ""] for row, a in zip(rows[1:], labels, strict=True)
    ]


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ('"정말\n좋다",5\n"나쁘다",1\n', ["정말\n좋다", "나쁘다"]),
        ('"가; 나; 다",5\n나쁘다,1\n', ["가; 나; 다", "나쁘다"]),
        ("정말 좋다;참,5\n나쁘다;뭐,1\n", ["정말 좋다;참", "나쁘다;뭐"]),
        ("정말 좋다,5\r나쁘다,1\r", ["정말 좋다", "나쁘다"]),
        ('sep=;\r\n정말, 참 좋다;5\r\n"나쁘다";1\r\n', ["정말, 참 좋다", "나쁘다"]),
    ],
    ids=["line break in quotes", "separators in quotes", "tie", "CR alone", "named"],
)
def test_columns_are_found_as_spreadsheets_mean_them(content: str, cells: list[str], screen: Screen) -> None:
    """Without a line of names, so that a first record is a text like any other."""
    upload(screen, "reviews.csv", content.encode())
    screen.find("#titled").uncheck()
    assert screen.find("#column option").all_inner_texts() == ["1번째 열", "2번째 열"]
    screen.find("#column").select_option("0")
    run(screen)
    assert [row[1] for row in table(screen)] == cells


def test_a_quote_that_is_never_closed_is_told_with_its_line_and_the_mended_file_is_read(screen: Screen) -> None:
    upload(screen, "reviews.csv", '글,별점\r\n"두\r\n줄",5\r\n"나쁘다,1\r\n최고,5\r\n'.encode())
    fault = screen.find("#file-fault")
    expect(fault).to_contain_text("4번째 줄에서 연 따옴표가")
    run(screen)
    expect(screen.find("#batch-status")).to_have_text("분류할 문장이 없습니다.")
    screen.find("#language").select_option("en")
    expect(fault).to_have_text("A quote in line 4 is never closed. Mend the file and choose it again.")
    upload(screen, "reviews.csv", '글,별점\r\n"두\r\n줄",5\r\n"나쁘다",1\r\n최고,5\r\n'.encode())
    expect(fault).to_be_hidden()
    run(screen)
    assert [row[1] for row in table(screen)] == ["두\r\n줄", "나쁘다", "최고"]


def test_another_column_can_be_chosen_and_the_first_line_may_be_a_text(screen: Screen) -> None:
    upload(screen, "reviews.tsv", "연기가 훌륭하다\t시간이 아깝다고들 한다\n최고\t최악\n".encode())
    screen.find("#titled").uncheck()
    assert screen.find("#column option").all_inner_texts() == ["1번째 열", "2번째 열"]
    screen.find("#column").select_option("0")
    run(screen)
    assert [row[1] for row in table(screen)] == ["연기가 훌륭하다", "최고"]
    _, rows = saved(screen)
    assert rows[0] == ["1번째 열", "2번째 열", *ADDED]


def test_lines_of_a_text_file_are_texts(screen: Screen) -> None:
    upload(screen, "lines.txt", "쉼표, 있는 줄\r\n\r\n최고\r\n".encode())
    expect(screen.find("#column-field")).to_be_hidden()
    run(screen)
    assert [row[1] for row in table(screen)] == ["쉼표, 있는 줄", "최고"]


@pytest.mark.parametrize(("name", "encoding"), [("Book1.txt", "utf-16-le"), ("ratings.TXT", "utf-8")])
def test_a_text_file_with_tabs_is_a_table(name: str, encoding: str, screen: Screen) -> None:
    """As Excel saves "Unicode text", and as corpora come; commas and semicolons are those of sentences."""
    upload(screen, name, marked('id\t영화평, 한 줄\r\n1\t"연기가 훌륭하다, 정말; ""참"""\r\n2\t시간이 아깝다\r\n', encoding))
    assert screen.find("#column option").all_inner_texts() == ["id", "영화평, 한 줄"]
    run(screen)
    assert [row[1] for row in table(screen)] == ['연기가 훌륭하다, 정말; "참"', "시간이 아깝다"]


@pytest.mark.parametrize("name", ["lines.txt", "LINES.TXT"])
def test_lines_in_utf_16_are_texts(name: str, screen: Screen) -> None:
    upload(screen, name, marked("연기가 훌륭하다\r\n시간이 아깝다", "utf-16-le"))
    expect(screen.find("#column-field")).to_be_hidden()
    run(screen)
    assert [row[1] for row in table(screen)] == TEXTS[:2]


def test_rows_without_a_text_stay_in_the_saved_table_and_are_not_asked_about(screen: Screen) -> None:
    bodies = screen.asked("/classify")
    rows = [["1", TEXTS[0]], ["2", ""], ["3", "  "], ["4"], ["5", TEXTS[1]]]
    upload(screen, "reviews.csv", "\n".join(",".join(row) for row in [["번호", "글"], *rows]).encode())
    run(screen)
    assert [body["inputs"] for body in bodies] == [TEXTS[:2]]
    expect(screen.find("#batch-status")).to_have_text("2개를 모두 분류했습니다. 비어 있는 행은 3개입니다.")
    _, (_, *found) = saved(screen)
    labels = [label["label"] for label in best(screen, TEXTS[:2])]
    assert [row[:3] for row in found] == [
        ["1", TEXTS[0], labels[0]],
        *[[n, text, ""] for n, text in (("2", ""), ("3", "  "), ("4", ""))],
        ["5", TEXTS[1], labels[1]],
    ]
    assert [row[-1] for row in found] == ["", *["비어 있음"] * 3, ""]


def test_many_texts_go_in_parts_and_the_table_shows_the_first(screen: Screen) -> None:
    texts = [f"{n}번째 영화는 재미있다" for n in range(230)]
    bodies = screen.asked("/classify")
    screen.find("#lines").fill("\n".join(texts))
    run(screen)
    assert [len(body["inputs"]) for body in bodies] == [64, 64, 64, 38]
    assert [row[1] for row in table(screen)] == texts[:200]
    expect(screen.find("#batch-status")).to_contain_text("230개를 모두 분류했습니다. 표에는 처음 200개만")
    assert screen.find("#batch-bar").evaluate("bar => bar.value / bar.max") == 1
    _, rows = saved(screen)
    assert [row[0] for row in rows[1:]] == texts


def test_who_does_not_see_the_bar_hears_of_every_tenth_at_most(screen: Screen) -> None:
    """Of 30 parts, the first of which is waited for."""
    screen.expected.append("status of 429")
    screen.page.route("**/classify", lambda route: route.fulfill(status=429, body=""), times=1)
    screen.page.evaluate(
        "() => { window.heard = []; new MutationObserver(all => all.forEach(one => one.addedNodes.forEach("
        "node => heard.push(node.textContent)))).observe(document.getElementById('announcer'), { childList: true }) }"
    )
    assert screen.find("#batch [role=status], #batch [aria-live]").count() == 0
    screen.find("#lines").fill("\n".join(["좋다"] * 64 * 30))
    run(screen)
    heard = screen.page.evaluate("window.heard")
    assert heard[0] == "0 / 1,920"
    assert heard[1].startswith("서버가 바쁩니다.")
    assert [said.split(" / ")[0] for said in heard[2:-1]] == ["192", "384", "576", "768", "960", "1,152", "1,344", "1,536", "1,728"]
    assert heard[-1].startswith("1,920개를 모두 분류했습니다.")


def test_a_text_that_is_refused_is_told_why_and_holds_up_no_other(screen: Screen) -> None:
    screen.expected.append("status of 413")
    long = "좋다 " * 2_000
    screen.find("#lines").fill("\n".join([TEXTS[0], long, TEXTS[1], long]))
    run(screen)
    assert [row[2] for row in table(screen)][::2] == [label["label"] for label in best(screen, TEXTS[:2])]
    for row in table(screen)[1::2]:
        assert row[2] == "너무 많거나 너무 깁니다. (2000 words are more than the 1024 of korean-sentiment)"
    expect(screen.find("#batch-status")).to_have_text("4개 가운데 2개는 분류하지 못했습니다.")
    _, rows = saved(screen)
    assert [(row[1] == "", row[3] == "", row[4] == "") for row in rows[1:]] == [(False, False, True), (True, True, False)] * 2


def test_parts_are_within_all_limits_and_a_text_above_them_holds_up_no_other(context: "BrowserContext") -> None:
    with running(models=ROOT / "models", max_waiting=2, max_body_bytes=2_000) as process:
        small = Screen(context.new_page(), process)
        small.watch()
        small.open().tab("batch")
        bodies = small.asked("/classify")
        small.find("#lines").fill("\n".join([*TEXTS, "길" * 2_000, TEXTS[0]]))
        run(small)
        assert [body["inputs"] for body in bodies] == [TEXTS[:2], TEXTS[2:], TEXTS[:1]]
        assert table(small)[3][2] == "너무 많거나 너무 깁니다."
        expect(small.find("#batch-status")).to_have_text("5개 가운데 1개는 분류하지 못했습니다.")
        assert small.unexpected() == []


def test_a_busy_service_is_waited_for(screen: Screen) -> None:
    screen.expected.append("status of 429")
    refusal = {"error": "try again in 1 s", "error_type": "overloaded"}
    screen.page.route("**/classify", lambda route: route.fulfill(status=429, headers={"retry-after": "1"}, json=refusal), times=1)
    screen.find("#lines").fill("\n".join(TEXTS))
    screen.find("#batch-run").click()
    expect(screen.find("#batch-status")).to_have_text("서버가 바쁩니다. 1초 뒤에 이어서 합니다. 0 / 3")
    expect(screen.find("#batch-status")).to_have_text("3개를 모두 분류했습니다.")


@pytest.mark.parametrize("when", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "0", "-5"])
def test_a_busy_service_that_says_no_seconds_is_waited_for_one(when: str, screen: Screen) -> None:
    """Which a proxy may do; without a pause the page would make it worse."""
    screen.expected.append("status of 429")
    screen.page.route("**/classify", lambda route: route.fulfill(status=429, headers={"retry-after": when}, body=""), times=1)
    screen.find("#lines").fill("\n".join(TEXTS))
    screen.find("#batch-run").click()
    expect(screen.find("#batch-status")).to_have_text("서버가 바쁩니다. 1초 뒤에 이어서 합니다. 0 / 3")
    expect(screen.find("#batch-status")).to_have_text("3개를 모두 분류했습니다.")


def test_a_run_keeps_its_model_and_another_one_is_for_the_next(screen: Screen) -> None:
    held: list[Any] = []
    bodies = screen.asked("/classify")
    screen.page.route("**/classify", lambda route: held.append(route), times=1)
    screen.find("#lines").fill("\n".join(f"{n}번째 영화" for n in range(100)))
    with screen.page.expect_request("**/classify"):
        screen.find("#batch-run").click()
    screen.find("#model").select_option("english-spam")
    held[0].continue_()
    expect(screen.find("#batch-run")).to_be_enabled()
    assert [body["model"] for body in bodies] == ["korean-sentiment"] * 2
    assert {row[3] for row in saved(screen)[1][1:]} == {serving(screen)}
    run(screen)
    assert {row[3] for row in saved(screen)[1][1:]} == {serving(screen, "english-spam")}


def test_it_can_be_stopped_and_keeps_what_it_has(screen: Screen) -> None:
    done: list[Any] = []

    def answer(route: Any) -> None:
        """The first part alone."""
        if not done:
            done.append(route)
            route.continue_()

    screen.page.route("**/classify", answer)
    screen.find("#lines").fill("\n".join(f"{n}번째 영화" for n in range(200)))
    screen.find("#batch-run").click()
    expect(screen.find("#batch-status")).to_have_text("64 / 200")
    screen.find("#batch-stop").click()
    expect(screen.find("#batch-status")).to_have_text("64개까지 하고 멈췄습니다.")
    _, rows = saved(screen)
    assert len(rows) == 65


def test_an_answer_that_is_none_of_the_service_is_told_and_ends_it(screen: Screen) -> None:
    screen.page.route("**/classify", lambda route: route.fulfill(body="<h1>Sign in</h1>"), times=1)
    screen.find("#lines").fill("\n".join(TEXTS))
    run(screen)
    expect(screen.find("#notice p")).to_contain_text("서버가 켜져 있는지 확인하세요.")
    expect(screen.find("#batch-status")).to_have_text("0개까지 하고 멈췄습니다.")
    run(screen)
    expect(screen.find("#batch-status")).to_have_text("3개를 모두 분류했습니다.")
    expect(screen.find("#notice")).to_be_empty()


def test_a_run_that_broke_goes_on_after_the_rows_that_are_done(screen: Screen) -> None:
    screen.expected.append("status of 503")
    texts = [f"{n}번째 영화" for n in range(100)]
    bodies = screen.asked("/classify")
    refusal = {"error": "it is ending", "error_type": "unavailable"}

    def refuse(route: Any) -> None:
        """The second part alone."""
        if len(bodies) == 2:
            route.fulfill(status=503, json=refusal)
        else:
            route.continue_()

    screen.page.route("**/classify", refuse)
    screen.find("#lines").fill("\n".join(texts))
    run(screen)
    expect(screen.find("#batch-status")).to_have_text("64개까지 하고 멈췄습니다.")
    screen.find("#lines").fill(TEXTS[0])
    screen.find("#model").select_option("english-spam")
    screen.find("#notice").get_by_role("button", name="다시 하기").click()
    expect(screen.find("#batch-status")).to_have_text("100개를 모두 분류했습니다.")
    assert bodies[2] == bodies[1]
    _, (_, *rows) = saved(screen)
    assert [row[0] for row in rows] == texts
    assert {row[3] for row in rows} == {serving(screen)}


def test_without_a_text_there_is_nothing_to_do(screen: Screen) -> None:
    screen.find("#lines").fill(" \n")
    run(screen)
    expect(screen.find("#batch-status")).to_have_text("분류할 문장이 없습니다.")
    expect(screen.find("#batch-save")).to_be_disabled()


def test_it_needs_no_mouse(screen: Screen) -> None:
    screen.find("#lines").fill(TEXTS[0])
    for _ in range(2):
        screen.press("Tab")
    assert screen.focused() == "batch-run"
    screen.press("Enter")
    expect(screen.find("#table tbody tr")).to_have_count(1)
