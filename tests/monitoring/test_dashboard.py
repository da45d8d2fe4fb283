"""deploy/monitoring/dashboard.json: what Grafana is given to import, as far as it can be judged without one."""

import re
from itertools import combinations
from typing import Any

import pytest

from tests.monitoring.documents import DASHBOARD, MONITORING, PANELS, VARIABLES, Panel, alerts

COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
MOST_BYTES = 200_000  # kubectl apply keeps a second copy in an annotation, and annotations end at 262,144
# Of Grafana's units; "suffix: " makes one that it does not have. "none" stands in tables, whose cells are words.
UNITS = {"reqps", "percentunit", "short", "s", "bytes"}
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def said_by(panel: Panel) -> str:
    return str(panel["title"])


def test_ids_and_titles_are_unique() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == len(set(rows)) > 5
    assert len(PANELS) > 40


@pytest.mark.parametrize("panel", PANELS, ids=said_by)
def test_a_panel_says_what_it_shows_and_in_what(panel: Panel) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 25
    assert panel["datasource"] == SOURCE
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS or re.fullmatch(r"suffix: [a-z]+(/s)?", unit) or (unit == "none" and panel["type"] == "table")
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references)) > 0


@pytest.mark.parametrize("panel", PANELS, ids=said_by)
def test_a_legend_names_what_its_lines_are_told_apart_by(panel: Panel) -> None:
    legends = [target.get("legendFormat", "") for target in panel["targets"]]
    assert len(legends) == len(set(legends))
    for target, legend in zip(panel["targets"], legends, strict=True):
        if panel["type"] == "table":
            assert target["format"] == "table"
            continue
        assert legend
        grouped = {label for found in GROUPED.findall(target["expr"]) for label in found.split(", ")}
        quantile = {"le"} if "histogram_quantile" in target["expr"] else set()
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) == grouped - quantile


@pytest.mark.parametrize("panel", PANELS, ids=said_by)
def test_a_panel_shows_what_the_variables_choose(panel: Panel) -> None:
    """Everything of a model goes by the model, too, and no range is shorter than Grafana knows it must be."""
    for target in panel["targets"]:
        selectors = re.findall(r"(\w+)\{([^}]*)\}", target["expr"])
        assert selectors
        for name, selector in selectors:
            of_models = name.startswith("seqserve_") and name not in ("seqserve_build_info", "seqserve_refused_models")
            assert 'instance=~"$instance"' in selector
            assert ('model=~"$model"' in selector) == of_models
        assert set(re.findall(r"\[([^\]]*)\]", target["expr"])) <= {"$__rate_interval", "1h"}
        assert len(re.findall(r"seqserve_\w+|process_\w+", target["expr"])) == len(selectors)


def test_no_panel_lies_on_another() -> None:
    def covers(panel: Panel) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        return {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}

    for one, other in combinations(DASHBOARD["panels"], 2):
        assert not covers(one) & covers(other), (one["title"], other["title"])


def test_what_is_asked_for_is_chosen_by_variables_that_are_there() -> None:
    names = {variable["name"] for variable in VARIABLES}
    assert names == {"datasource", "instance", "model"}
    text = (MONITORING / "dashboard.json").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{?(\w+)", text)) == names | {"__rate_interval", "__all"}


def test_requests_without_a_model_are_shown_where_no_model_is_chosen() -> None:
    """Those that were refused before one was found."""
    model: dict[str, Any] = next(variable for variable in VARIABLES if variable["name"] == "model")
    assert re.fullmatch(model["allValue"], "")


def test_every_alert_is_named_by_a_panel_that_shows_its_cause() -> None:
    named = {name for panel in PANELS for name in re.findall(r"Seqserve\w+", panel["description"])}
    of_targets = {"SeqserveDown", "SeqserveInstanceDown", "SeqserveNoModel"}  # of what tells nothing, nothing is shown
    assert named == alerts().keys() - of_targets


def test_kubectl_can_apply_it() -> None:
    assert (MONITORING / "dashboard.json").stat().st_size < MOST_BYTES
