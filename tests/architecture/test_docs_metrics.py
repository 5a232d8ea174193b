"""The page of metrics has what is exposed, and nothing else."""

import re

from workspace import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"
GUIDE = ROOT / "docs" / "how-to" / "observe.md"
SOURCES = (
    "services/core/src/entrepot_core/api/metrics.py",
    "services/core/src/entrepot_core/dispatch/metrics.py",
    "services/core/src/entrepot_core/downloads/metrics.py",
    "services/core/src/entrepot_core/plugins/task_times.py",
    "services/rpc/src/entrepot_rpc/call_metrics.py",
    "gateway/src/entrepot_gateway/measured.py",
)
DECLARED = re.compile(r"(\w+)\(\s*\"(entrepot_[a-z_]+)\"")
ROW = re.compile(r"^\| `(entrepot_[a-z_]+)` \| (\w+) \|", re.MULTILINE)
USED = re.compile(r"\b(entrepot_[a-z_]+)\b")
TYPES = {
    "Counter": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "_gauge": "gauge",
    "Histogram": "histogram",
}


def declared() -> set[tuple[str, str]]:
    """Name and type of every metric in the code."""
    return {
        (f"{name}_total" if kind == "Counter" else name, TYPES[kind])
        for source in SOURCES
        for kind, name in DECLARED.findall((ROOT / source).read_text())
    }


def test_the_page_names_every_metric() -> None:
    """Each metric that the code declares stands on the page with its type, and no other does."""
    assert declared() == set(ROW.findall(PAGE.read_text()))


def test_queries_of_the_guide_name_metrics_that_exist() -> None:
    """A query that is copied from the guide finds something."""
    known = {name for name, _ in declared()}
    parts = {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum")}

    assert set(USED.findall(GUIDE.read_text())) <= known | parts


def test_only_these_files_declare_metrics() -> None:
    """A metric that is declared elsewhere would be missed here."""
    importing = {
        str(path.relative_to(ROOT))
        for folder in ("services", "gateway", "plugins", "clients")
        for path in (ROOT / folder).rglob("src/**/*.py")
        if "prometheus_client" in path.read_text()
    }

    assert importing == {*SOURCES, "services/rpc/src/entrepot_rpc/exposition.py"}
