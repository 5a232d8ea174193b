"""Metrics of downloads."""

from prometheus_client import CollectorRegistry

from entrepot_core.downloads.metrics import MOST_HOSTS, OTHER, DownloadMetrics


def test_hosts_do_not_make_series_without_end() -> None:
    """However many hosts remotes name, only so many have a label of their own."""
    registry = CollectorRegistry()
    metrics = DownloadMetrics(registry)

    for number in range(3 * MOST_HOSTS):
        metrics.fetched(f"host-{number}", 10, 0.1)
        metrics.failed(f"host-{number}", "DOWNLOAD_FAILED", 0.1)

    (files,) = (one for one in registry.collect() if one.name == "entrepot_download_files")
    assert len({sample.labels["host"] for sample in files.samples}) == MOST_HOSTS + 1
    assert registry.get_sample_value("entrepot_download_bytes_total", {"host": OTHER}) == 1_000
