"""Units that fail in an attempt."""

from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.dispatch.unit_failures import UnitFailures
from entrepot_core.domain.errors import Code, DigestMismatchError
from entrepot_core.store.task_failures import MAX_KEPT


def a_failure(number: int, *, retryable: bool = True) -> UnitFailure:
    """A file that failed."""
    return UnitFailure(
        relative_path=f"f{number}", url=f"https://me:geheim@host/f{number}?a=b",
        reason="DOWNLOAD_FAILED", message="It answered 404.", retryable=retryable,
    )  # fmt: skip


def test_endless_failures_are_counted_and_the_first_kept() -> None:
    """Memory and table are bounded; the count is exact, and numbers go on where they were."""
    failures = UnitFailures()
    failures.add(a_failure(0))
    first, kept = failures.take()
    for number in range(1, MAX_KEPT + 100):
        failures.add(a_failure(number))
    second, rest = failures.take()

    assert (first, len(kept), second, len(rest)) == (1, 1, 2, MAX_KEPT - 1)
    assert failures.count == MAX_KEPT + 100
    assert failures.take() == (MAX_KEPT + 1, [])


def test_a_failure_has_no_password() -> None:
    """A URL is shown without who asks."""
    failures = UnitFailures()
    failures.add(a_failure(1))

    ((shown,),) = (failures.take()[1],)

    assert b"geheim" not in shown
    assert b"host/f1" in shown


def test_the_error_names_some_and_passes_only_if_all_may() -> None:
    """Five are named, and one failure that will not pass makes a verdict of all of them."""
    failures = UnitFailures()
    for number in range(7):
        failures.add(a_failure(number))

    error = failures.error()

    assert error.message == (
        "It answered 404. In all, 7 units failed: f0, f1, f2, f3, f4 and 2 more."
    )
    assert (error.code, getattr(error, "retryable", None)) == (Code.UNAVAILABLE, True)
    failures.add(a_failure(8, retryable=False))
    assert failures.error().code == Code.FAILED_PRECONDITION


def test_one_failure_is_its_own_error() -> None:
    """What is known of the only one that failed is not lost, and told twice it is one."""
    failures, error = UnitFailures(), DigestMismatchError("Other bytes.")
    failures.add(a_failure(1), error)
    failures.add(a_failure(1), error)

    assert failures.error() is error
    assert failures.in_words() == ""
