import pytest

from capriccio.errors import UsageError
from capriccio.metrics.names import (
    EXAMPLES,
    PathMetric,
    SetMetric,
    higher_is_better,
    parse_metric,
    parse_metrics,
)


@pytest.mark.parametrize("name", [*EXAMPLES, "fid5k", "pr_squeeze500_k3", "dc_random100_k5_full", "ppl_zfull",
                                  "kd_discriminator123", "ppl_wend_discriminator_500"])  # fmt: skip
def test_a_name_stands_for_what_it_says(name):
    metric = parse_metric(name)
    assert metric.name == name
    assert parse_metric(metric.name) == metric


def test_the_names_of_the_field_mean_what_they_mean_in_the_field():
    assert parse_metric("fid50k_full") == SetMetric(kind="fd", network="inception", count=50_000, full=True)
    assert parse_metric("pr50k3_full") == SetMetric(kind="pr", network="vgg", count=50_000, full=True, neighbours=3)
    assert parse_metric("ppl2_wend") == PathMetric(space="w", sampling="end", crop=False, distance="vgg", count=50_000)
    assert parse_metric("ppl_zfull").crop


def test_a_default_count_fills_names_without_one():
    names = [m.name for m in parse_metrics("fd_squeeze_full, ppl2_wend_squeeze,fid50k", count=2000)]
    assert names == ["fd_squeeze2k_full", "ppl2_wend_squeeze_2k", "fid50k"]


def test_a_metric_named_twice_is_measured_once():
    assert len(parse_metrics("fid50k_full,fid_full")) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fdi50k_full", "Did you mean 'fid50k_full'"),
        ("fd5k", "by which network"),
        ("fd_sqeeze5k", "Did you mean 'squeeze'"),
        ("fid_squeeze5k", "defined by the Inception network alone; by another one it is called fd_squeeze"),
        ("fid5k3", "no meaning here"),
        ("fid0", "no samples at all"),
        ("ppl2_wend_squeze", "Did you mean 'squeeze'"),
        ("", "is not a metric"),
    ],
)
def test_a_name_that_says_nothing_is_refused_with_a_remedy(name, told):
    with pytest.raises(UsageError, match=told):
        parse_metric(name)


def test_no_metric_at_all_is_refused():
    with pytest.raises(UsageError, match="names no metric"):
        parse_metrics(" , ")


def test_distances_are_better_low_and_shares_high():
    assert higher_is_better("pr50k3_full_recall")
    assert higher_is_better("is50k_mean")
    assert not higher_is_better("fid50k_full")
    assert not higher_is_better("kid50k_full_std")
